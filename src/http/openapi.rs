//! `/openapi.json`: the description of all routes, written by hand and checked against them.

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use warp::Reply;
use warp::reply::Response;

const DOCUMENT: &str = include_str!("openapi.json");

/// Returns the document.
pub(crate) fn document() -> Response {
    let mut response = DOCUMENT.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::routes::TABLE;

    #[test]
    fn the_document_names_every_route_and_nothing_else() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let documented: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
                methods.map(move |method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let served: BTreeSet<(String, String)> = TABLE
            .iter()
            .flat_map(|(path, methods)| methods.iter().map(|method| (path.to_string(), method.to_string())))
            .filter(|(_, method)| method != "HEAD")
            .collect();
        assert_eq!(documented, served);
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        let references: Vec<&str> = DOCUMENT.split("\"$ref\": \"#").skip(1).collect();
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
