//! What browsers load: the client library, and the demo with its pages. All of it is part of the binary.

use std::io::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use warp::Reply;
use warp::reply::Response;

use crate::http::problem::Problem;

/// A file that is served.
pub(crate) struct Page {
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! pages {
    ($($path:literal $content_type:ident $file:literal)*) => {
        &[$(Page {
            path: $path,
            content_type: $content_type,
            body: include_bytes!(concat!("../../web/", $file)),
        }),*]
    };
}

static PAGES: &[Page] = pages! {
    "/client.d.ts" SCRIPT "turnpike.d.ts"
    "/client.js" SCRIPT "turnpike.js"
    "/demo/" HTML "demo/index.html"
    "/demo/demo.css" STYLE "demo/demo.css"
    "/demo/demo.js" SCRIPT "demo/demo.js"
    "/demo/feed.html" HTML "demo/feed.html"
    "/demo/feed.js" SCRIPT "demo/feed.js"
    "/demo/files.js" SCRIPT "demo/files.js"
    "/demo/icon.svg" IMAGE "demo/icon.svg"
    "/demo/media.js" SCRIPT "demo/media.js"
    "/demo/sha256.js" SCRIPT "demo/sha256.js"
};

/// What a page is sent as.
struct Forms {
    plain_tag: HeaderValue,
    zipped_tag: HeaderValue,
    zipped: Vec<u8>,
}

static FORMS: LazyLock<Vec<Forms>> = LazyLock::new(|| PAGES.iter().map(forms).collect());

fn forms(page: &Page) -> Forms {
    let digest = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(page.body)[..16]);
    let tag = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zipped = encoder.write_all(page.body).and_then(|()| encoder.finish()).unwrap_or_default();
    Forms { plain_tag: tag(format!("\"{digest}\"")), zipped_tag: tag(format!("\"{digest}-gzip\"")), zipped }
}

/// Only what comes from this server is loaded, and nothing may frame the pages.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data: blob:; media-src 'self' blob: mediastream:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PERMISSIONS: &str = "camera=(self), microphone=(self), display-capture=(self)";
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Tells whether a path is one of the demo.
pub(crate) fn is_demo(path: &str) -> bool {
    path == "/demo" || path.starts_with("/demo/")
}

/// Tells whether something is served at a path.
pub(crate) fn is_page(path: &str) -> bool {
    path == "/demo" || path == "/favicon.ico" || PAGES.iter().any(|page| page.path == path)
}

/// Answers for a path that [`is_page`].
pub(crate) fn answer(path: &str, headers: &HeaderMap, demo: bool) -> Result<Response, Problem> {
    if is_demo(path) && !demo {
        return Err(Problem::NotFound);
    }
    if path == "/favicon.ico" {
        return Ok(bare(StatusCode::NO_CONTENT, CACHE_CONTROL, "public, max-age=86400"));
    }
    if path == "/demo" {
        // Relative, so that it holds behind a proxy that serves us under a path of its own.
        return Ok(bare(StatusCode::TEMPORARY_REDIRECT, LOCATION, "demo/"));
    }
    let found = PAGES.iter().zip(FORMS.iter()).find(|(page, _)| page.path == path);
    let (page, forms) = found.ok_or(Problem::NotFound)?;
    let is_zipped = accepts_gzip(headers) && !forms.zipped.is_empty();
    let tag = if is_zipped { &forms.zipped_tag } else { &forms.plain_tag };
    let mut response = if is_known(headers, forms) {
        bare(StatusCode::NOT_MODIFIED, VARY, "Accept-Encoding")
    } else if is_zipped {
        let mut response = forms.zipped.as_slice().into_response();
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        page.body.into_response()
    };
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_TYPE, page.content_type);
    // Asked for again each time, and answered in one line as long as the daemon is the same.
    set(CACHE_CONTROL, "no-cache");
    set(VARY, "Accept-Encoding");
    set(REFERRER_POLICY, "no-referrer");
    if is_demo(path) {
        set(CONTENT_SECURITY_POLICY, CONTENT_POLICY);
        set(PERMISSIONS_POLICY, PERMISSIONS);
        set(RESOURCE_POLICY, "same-origin");
    } else {
        set(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        set(RESOURCE_POLICY, "cross-origin");
    }
    headers.insert(ETAG, tag.clone());
    Ok(response)
}

fn bare(status: StatusCode, name: HeaderName, value: &'static str) -> Response {
    let mut response = status.into_response();
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// Tells whether the client has the page already, in either form (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, forms: &Forms) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    tags.flat_map(|line| line.split(',')).map(str::trim).any(|tag| {
        let strong = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || forms.plain_tag == strong || forms.zipped_tag == strong
    })
}

/// Tells whether `Accept-Encoding` names gzip, or everything, with a weight above zero (RFC 9110 §12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let weights = |wanted: &str| {
        let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
        let mut named = lines.flat_map(|line| line.split(',')).filter_map(|item| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
            name.trim().eq_ignore_ascii_case(wanted).then(|| weight.is_ok_and(|weight| weight > 0.0))
        });
        named.next()
    };
    weights("gzip").or_else(|| weights("*")).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn value<'a>(response: &'a Response, name: &HeaderName) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn every_file_of_the_demo_is_served() {
        let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/web/demo")).unwrap();
        let files: BTreeSet<String> =
            folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let name = |page: &Page| match page.path.strip_prefix("/demo/") {
            Some("") => Some("index.html".to_owned()),
            other => other.map(str::to_owned),
        };
        assert_eq!(PAGES.iter().filter_map(name).collect::<BTreeSet<_>>(), files);
    }

    #[test]
    fn what_comes_zipped_is_the_same_page() {
        for (page, forms) in PAGES.iter().zip(FORMS.iter()) {
            let mut body = Vec::new();
            GzDecoder::new(forms.zipped.as_slice()).read_to_end(&mut body).unwrap();
            assert!(body == page.body && forms.plain_tag != forms.zipped_tag, "{}", page.path);
            assert!(forms.plain_tag.len() > 20);
        }
    }

    #[test]
    fn gzip_is_sent_where_it_is_wanted() {
        for (line, wanted) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("gzip; q=0", false),
            ("br", false),
            ("", false),
            ("gzip;q=x", false),
        ] {
            let response = answer("/client.js", &headers(&[(ACCEPT_ENCODING, line)]), false).unwrap();
            assert_eq!(value(&response, &CONTENT_ENCODING) == "gzip", wanted, "{line}");
            assert_eq!(value(&response, &VARY), "Accept-Encoding");
        }
        let plain = answer("/client.js", &HeaderMap::new(), false).unwrap();
        assert!(plain.headers().get(CONTENT_ENCODING).is_none());
    }

    #[test]
    fn a_page_that_is_known_is_not_sent_again() {
        let first = answer("/client.js", &HeaderMap::new(), false).unwrap();
        let tag = value(&first, &ETAG).to_owned();
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let again = answer("/client.js", &headers(&[(IF_NONE_MATCH, &known)]), false).unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            assert_eq!((value(&again, &ETAG), value(&again, &CACHE_CONTROL)), (tag.as_str(), "no-cache"));
        }
        let other = answer("/client.js", &headers(&[(IF_NONE_MATCH, "\"x\"")]), false).unwrap();
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn the_library_may_be_imported_from_anywhere_and_the_demo_from_nowhere_else() {
        let library = answer("/client.js", &HeaderMap::new(), false).unwrap();
        assert_eq!(value(&library, &ACCESS_CONTROL_ALLOW_ORIGIN), "*");
        assert_eq!(value(&library, &RESOURCE_POLICY), "cross-origin");
        assert_eq!(value(&library, &CONTENT_TYPE), SCRIPT);
        let demo = answer("/demo/", &HeaderMap::new(), true).unwrap();
        assert!(demo.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
        assert_eq!(value(&demo, &RESOURCE_POLICY), "same-origin");
        assert!(value(&demo, &CONTENT_SECURITY_POLICY).starts_with("default-src 'none'; script-src 'self';"));
        assert!(value(&demo, &PERMISSIONS_POLICY).contains("camera=(self)"));
        assert_eq!((value(&demo, &REFERRER_POLICY), value(&demo, &CONTENT_TYPE)), ("no-referrer", HTML));
    }

    #[test]
    fn without_the_demo_there_is_none() {
        for path in ["/demo", "/demo/", "/demo/demo.js"] {
            assert!(is_page(path));
            assert_eq!(answer(path, &HeaderMap::new(), false).unwrap_err(), Problem::NotFound);
        }
        let redirect = answer("/demo", &HeaderMap::new(), true).unwrap();
        assert_eq!((redirect.status().as_u16(), value(&redirect, &LOCATION)), (307, "demo/"));
        assert_eq!(answer("/favicon.ico", &HeaderMap::new(), false).unwrap().status().as_u16(), 204);
        assert!(!is_page("/demo/nothing") && !is_page("/client.js/"));
    }

    #[test]
    fn the_pages_keep_to_their_own_policy() {
        for page in PAGES.iter().filter(|page| page.content_type == HTML) {
            let text = str::from_utf8(page.body).unwrap();
            for forbidden in ["<style", " style=", " onclick=", "javascript:", "src=\"http", "<script>"] {
                assert!(!text.contains(forbidden), "{}: {forbidden}", page.path);
            }
        }
    }
}
