//! HTTP/1.1 or HTTP/2, as the handshake agreed, on one connection: bounded in time whatever its peer does.

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::accept::Arrival;

/// For the handshake, and for the head of each request: an HTTP/1.1 connection that has waited so long for one is closed.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection without a request in work stays open.
const IDLE: Duration = Duration::from_secs(60);
/// How long a connection may take to end after it was asked to. Longer than the deadline of a request.
const LEAVE: Duration = Duration::from_secs(35);
/// HTTP/2: a peer that does not answer a ping is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_DEADLINE: Duration = Duration::from_secs(10);
/// HTTP/2: requests at once. A browser shows a page with a handful of files; an application's back channel has more.
const STREAMS: u32 = 100;
/// Largest head of a request: the longest address and cookies fit.
const HEAD_BYTES: u32 = 64 * 1024;

/// Answers the requests of a connection with `router`, each of which carries `fact`, until the peer leaves, idles, or
/// `stop`: then the requests in work are finished.
pub async fn serve<T>(arrival: Arrival, router: Router, fact: T, stop: CancellationToken)
where
    T: Clone + Send + Sync + 'static,
{
    let h2 = arrival.tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(arrival.tls);
    let (in_work, idle) = watch::channel(0_usize);
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(fact.clone());
        let (router, begun) = (router.clone(), InWork::begin(in_work.clone()));
        async move {
            let _begun = begun;
            router.oneshot(request.map(Body::new)).await
        }
    });
    if h2 {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_DEADLINE)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_BYTES);
        drive(http.serve_connection(io, service), idle, stop).await;
    } else {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(HEAD_BYTES as usize);
        drive(http.serve_connection(io, service), idle, stop).await;
    }
}

async fn drive<C>(connection: C, in_work: watch::Receiver<usize>, stop: CancellationToken)
where
    C: GracefulConnection,
    C::Error: Display,
{
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = idle(in_work) => None,
        () = stop.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(LEAVE, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Resolves when no request has been in work for a while.
async fn idle(mut in_work: watch::Receiver<usize>) {
    loop {
        let none = *in_work.borrow_and_update() == 0;
        let changed = in_work.changed();
        let closed = if none {
            match tokio::time::timeout(IDLE, changed).await {
                Ok(changed) => changed.is_err(),
                Err(_) => return,
            }
        } else {
            changed.await.is_err()
        };
        if closed {
            // The connection has let go of its service: it is ending by itself.
            return std::future::pending().await;
        }
    }
}

/// A request in work, until this is dropped.
struct InWork(watch::Sender<usize>);

impl InWork {
    fn begin(count: watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_idles_only_while_no_request_is_in_work() {
        let (in_work, watched) = watch::channel(0);
        let started = tokio::time::Instant::now();
        let request = InWork::begin(in_work.clone());
        let ends = tokio::spawn(idle(watched));
        tokio::time::sleep(IDLE * 3).await;
        assert!(!ends.is_finished(), "a request is in work");
        drop(request);
        ends.await.expect("it ends");
        assert_eq!(started.elapsed(), IDLE * 4);
    }
}
