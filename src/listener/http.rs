//! HTTP/1.1 or HTTP/2, as the handshake agreed, on one connection: bounded in time whatever its peer does.

use std::convert::Infallible;
use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderValue};
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

/// How a listener comes to its end.
#[derive(Clone, Debug)]
pub struct Leaving {
    pub stop: CancellationToken,
    /// How long after the stop a connection without a request in work may still bring one. Who is about to ask gets an
    /// answer, and is told with it to ask elsewhere.
    pub linger: Duration,
}

/// Answers the requests of a connection with `router`, each of which carries `fact`, until the peer leaves, idles, or the
/// listener comes to its end: then the requests in work are finished.
pub async fn serve<T>(arrival: Arrival, router: Router, fact: T, leaving: Leaving)
where
    T: Clone + Send + Sync + 'static,
{
    let h2 = arrival.tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(arrival.tls);
    let (in_work, idle) = watch::channel(0_usize);
    let stop = leaving.stop.clone();
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(fact.clone());
        let (router, begun, stop) = (router.clone(), InWork::begin(in_work.clone()), stop.clone());
        async move {
            let _begun = begun;
            let mut response = router.oneshot(request.map(Body::new)).await?;
            // HTTP/2 has a frame for this. Without it the peer might ask again just when the connection ends.
            if !h2 && stop.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    if h2 {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_DEADLINE)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_BYTES);
        drive(http.serve_connection(io, service), idle, leaving).await;
    } else {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(HEAD_BYTES as usize);
        drive(http.serve_connection(io, service), idle, leaving).await;
    }
}

async fn drive<C>(connection: C, in_work: watch::Receiver<usize>, leaving: Leaving)
where
    C: GracefulConnection,
    C::Error: Display,
{
    let mut connection = pin!(connection);
    let leave = async {
        leaving.stop.cancelled().await;
        // At the end of that time nobody listens any more, and the peer has to go elsewhere in any case.
        tokio::time::timeout(leaving.linger, asked(in_work.clone())).await.is_ok()
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = idle(in_work.clone()) => None,
        _ = leave => None,
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

/// Resolves when a request is in work.
async fn asked(mut in_work: watch::Receiver<usize>) {
    if in_work.wait_for(|count| *count > 0).await.is_err() {
        // The connection has let go of its service: it is ending by itself.
        std::future::pending().await
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
    async fn a_request_in_work_is_seen_whenever_it_begins() {
        let (in_work, watched) = watch::channel(0);
        let waiting = tokio::spawn(asked(watched.clone()));
        tokio::time::sleep(IDLE).await;
        assert!(!waiting.is_finished());
        let _request = InWork::begin(in_work.clone());
        waiting.await.expect("it ends");
        asked(watched).await;
    }

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
