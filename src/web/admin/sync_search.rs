//! `sync.search`: objects of connector spaces and of the metaverse, by name, attribute or state.

use super::sync_desk::{SyncDesk, refused_inspection};
use super::{AdminSession, Operation, OperationError, Right};
use crate::sync::explain::{SearchRequest, SearchResult};

pub struct SyncSearch;

impl Operation for SyncSearch {
    const NAME: &'static str = "sync.search";
    const RIGHT: Right = Right::Read;
    const CHANGES: bool = false;
    type Request = SearchRequest;
    type Response = SearchResult;
    type Gateway = SyncDesk;

    fn subject(request: &SearchRequest) -> Option<String> {
        request.text.clone()
    }

    async fn run(desk: &SyncDesk, _: &AdminSession, request: SearchRequest) -> Result<SearchResult, OperationError> {
        // A scan reads much: it stays out of the way of sign-in.
        let runner = desk.runner.clone();
        match desk.background.spawn(async move { runner.search(&request).await }).await {
            Ok(found) => found.map_err(refused_inspection),
            Err(error) => Err(OperationError::internal(&error)),
        }
    }
}
