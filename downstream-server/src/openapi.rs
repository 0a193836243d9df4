//! `GET /v1/openapi.json`: what the API takes and answers, kept by hand and held against the routes.

use axum::response::{IntoResponse, Response};
use http::header;

const DOCUMENT: &str = include_str!("openapi.json");

pub(crate) async fn get() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::Body;
    use http::{Method, Request, StatusCode};
    use serde_json::Value;

    use super::*;
    use crate::testing::{Site, TOKEN, config};

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Method and path of every operation in the document.
    fn documented() -> BTreeSet<(Method, String)> {
        let document = document();
        let paths = document["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, operations)| {
                let methods = operations.as_object().unwrap().keys();
                methods.map(|method| (method.to_uppercase().parse().unwrap(), path.clone()))
            })
            .collect()
    }

    #[test]
    fn the_document_names_every_route_and_nothing_else() {
        // The routes as app.rs writes them; the page's own files are no part of the API.
        let routes = include_str!("app.rs").split(".route(\"").skip(1).flat_map(|rest| {
            let (path, rest) = rest.split_once('"').unwrap();
            let handlers = rest.split(".route(").next().unwrap().lines().next().unwrap();
            let methods = [(Method::GET, "get("), (Method::POST, "post(")];
            let named = methods.into_iter().filter(|(_, call)| handlers.contains(&format!(" {call}")));
            named.map(|(method, _)| (method, path.to_owned())).collect::<Vec<_>>()
        });
        assert_eq!(routes.collect::<BTreeSet<_>>(), documented());
    }

    #[tokio::test]
    async fn every_documented_operation_is_there_and_asks_for_a_token_where_the_document_says_so() {
        let site = Site::new(&config(&[]));
        for (method, path) in documented() {
            let operation = &document()["paths"][&path][method.as_str().to_lowercase()];
            let open = operation["security"].as_array().unwrap().contains(&serde_json::json!({}));
            let request = |token: &str| {
                let request = Request::builder()
                    .method(&method)
                    .uri(path.replace("{id}", "7").replace("{token}", TOKEN));
                let request = request.header("host", "localhost").header("authorization", token);
                request.body(Body::empty()).unwrap()
            };
            let answer = site.send(request(&format!("Bearer {TOKEN}"))).await.status();
            assert!(answer != 405 && answer != StatusCode::UNAUTHORIZED, "{method} {path}: {answer}");
            let mut bare = request("");
            bare.headers_mut().remove("authorization");
            let refused = site.send(bare).await.status() == StatusCode::UNAUTHORIZED;
            assert_eq!(refused, !open, "{method} {path}");
        }
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document = document();
        let references = DOCUMENT.split("\"$ref\": \"#").skip(1);
        let targets: BTreeSet<_> = references.map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(targets.len() > 10, "{targets:?}");
        for target in targets {
            assert!(document.pointer(target).is_some(), "{target}");
        }
    }
}
