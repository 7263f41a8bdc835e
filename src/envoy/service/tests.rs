//! The service as a client of gRPC meets it, in the same process.

use std::collections::HashMap;
use std::sync::Mutex;

use codegen::Service as _;
use envoy_types::pb::envoy::service::auth::v3 as their_auth;
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use prost::Message as _;
use their_auth::attribute_context::{HttpRequest, Request as AttributeRequest};
use their_auth::authorization_client::AuthorizationClient;
use their_auth::check_response::HttpResponse;
use their_auth::{AttributeContext, CheckRequest, CheckResponse};
use tonic::Code;

use super::*;
use crate::authorizer::tests::of_file;
use crate::authz::key::tests::record;
use crate::authz::key_map::KeyMap;
use crate::authz::reason::Reason;
use crate::authz::snapshot::tests::policy;
use crate::authz::snapshot::{Generation, Mode, Policy, Snapshot};
use crate::envoy::encode::EncodedKey;

/// A clock on which every look takes a second.
#[derive(Default)]
struct Ticking(Mutex<u64>);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        let mut seconds = self.0.lock().unwrap();
        *seconds += 1;
        Duration::from_secs(*seconds)
    }
}

/// Bytes of a check: more than one of HTTP/2's frames has.
const MAX_MESSAGE: usize = 100_000;

type Seen = Arc<Mutex<Vec<(Reason, Option<Vec<u8>>, Duration)>>>;

/// A service with the key `k1`, whose secret is `k1`; what it observes is in the list. It panics at
/// `/panic`.
fn service(mode: Mode) -> (AuthorizationService<EncodedKey>, Seen) {
    let snapshot = Snapshot {
        generation: Generation(1),
        policy: Arc::new(Policy { mode, ..policy() }),
        keys: Some(Arc::new(KeyMap::new(vec![Arc::new(record("k1"))]).unwrap())),
    };
    let clock: Arc<dyn Clock> = Arc::new(Ticking::default());
    let authorizer = of_file(
        Arc::new(snapshot),
        Arc::clone(&clock),
        |record, snapshot| EncodedKey::of(record, &snapshot.policy),
    );
    let seen = Seen::default();
    let list = Arc::clone(&seen);
    let observe = move |checked: &CompletedCheck<'_, EncodedKey>| {
        let path = checked.request.map(|request| request.path().to_vec());
        assert_ne!(
            path.as_deref(),
            Some(&b"/panic"[..]),
            "the panic that a test asks for"
        );
        list.lock()
            .unwrap()
            .push((checked.decision.reason(), path, checked.duration));
    };
    (
        AuthorizationService::new(Arc::new(authorizer), Box::new(observe), clock, MAX_MESSAGE),
        seen,
    )
}

fn request(path: &str, key: Option<&str>) -> CheckRequest {
    let headers: HashMap<_, _> = key
        .map(|key| ("x-api-key".to_owned(), key.to_owned()))
        .into_iter()
        .collect();
    let http = HttpRequest {
        method: "GET".into(),
        path: path.into(),
        headers,
        ..HttpRequest::default()
    };
    let request = Some(AttributeRequest {
        http: Some(http),
        time: None,
    });
    CheckRequest {
        attributes: Some(AttributeContext {
            request,
            ..AttributeContext::default()
        }),
    }
}

/// Asks as a client of envoy-types does.
async fn ask(
    service: &AuthorizationService<EncodedKey>,
    request: CheckRequest,
) -> Result<CheckResponse, Status> {
    AuthorizationClient::new(service.clone())
        .check(request)
        .await
        .map(tonic::Response::into_inner)
}

/// Asks with any bytes for the body of the call: the message of the answer, or the gRPC status.
async fn ask_body(
    service: &AuthorizationService<EncodedKey>,
    path: &'static str,
    body: &[u8],
    encoding: Option<&'static str>,
) -> Result<CheckResponse, Status> {
    let mut request = http::Request::new(Full::new(Bytes::copy_from_slice(body)));
    *request.uri_mut() = path.parse().unwrap();
    if let Some(encoding) = encoding {
        let encoding = http::HeaderValue::from_static(encoding);
        request.headers_mut().insert("grpc-encoding", encoding);
    }
    let response = service.clone().call(request).await.unwrap();
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Err(status);
    }
    let whole = response.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
    Ok(CheckResponse::decode(whole.to_bytes().slice(5..)).unwrap())
}

/// A message as gRPC frames it.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

#[tokio::test]
async fn a_check_is_answered_and_observed() {
    let (service, seen) = service(Mode::Enforce);
    let allowed = ask(&service, request("/a?b=1", Some("k1"))).await.unwrap();
    assert_eq!(allowed.status.unwrap().code, 0);
    assert!(
        matches!(allowed.http_response, Some(HttpResponse::OkResponse(ok)) if !ok.headers.is_empty())
    );

    let denied = ask(&service, request("/a", Some("k2"))).await.unwrap();
    assert_eq!(denied.status.unwrap().code, 16);
    assert!(matches!(
        denied.http_response,
        Some(HttpResponse::DeniedResponse(_))
    ));

    let second = Duration::from_secs(1);
    let path = Some(b"/a".to_vec());
    let expected = [
        (Reason::Allowed, path.clone(), second),
        (Reason::UnknownKey, path, second),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_check_without_http_attributes_is_a_bad_request() {
    for (mode, code) in [(Mode::Enforce, 3), (Mode::Observe, 0)] {
        let (service, seen) = service(mode);
        for request in [
            CheckRequest::default(),
            CheckRequest {
                attributes: Some(AttributeContext::default()),
            },
        ] {
            let response = ask(&service, request).await.unwrap();
            assert_eq!(response.status.unwrap().code, code, "{mode:?}");
        }
        assert!(
            seen.lock()
                .unwrap()
                .iter()
                .all(|(reason, path, _)| *reason == Reason::BadRequest && path.is_none())
        );
    }
}

#[tokio::test]
async fn bytes_that_are_no_check_are_a_bad_request_in_observe_mode_too() {
    for mode in [Mode::Enforce, Mode::Observe] {
        let (service, seen) = service(mode);
        for message in [
            &b"\xff"[..],
            b"\x0a",
            b"\x0a\x05\x22",
            b"\x08\x01",
            b"GET / HTTP/1.1",
        ] {
            let body = framed(message);
            let asked = ask_body(&service, CHECK_PATH, &body, None);
            let response = asked.await.unwrap();
            assert_eq!(response.status.unwrap().code, 3, "{mode:?} {message:?}");
        }
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 5);
        assert!(
            seen.iter()
                .all(|(reason, path, _)| *reason == Reason::BadRequest && path.is_none())
        );
    }
}

#[tokio::test]
async fn a_panic_refuses_its_own_check_and_is_no_error_to_envoy() {
    for mode in [Mode::Enforce, Mode::Observe] {
        let (service, seen) = service(mode);
        let response = ask(&service, request("/panic", Some("k1"))).await.unwrap();
        assert_eq!(response.status.unwrap().code, 13, "{mode:?}");
        let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else {
            panic!("{mode:?}: an error response would open an Envoy that fails open")
        };
        assert_eq!(denied.status.unwrap().code, 500, "{mode:?}");
        assert!(denied.body.contains("internal_error"), "{}", denied.body);
        let counted = [(Reason::InternalError, None, Duration::from_secs(2))];
        assert_eq!(*seen.lock().unwrap(), counted, "{mode:?}");

        let next = ask(&service, request("/", Some("k1"))).await.unwrap();
        assert_eq!(next.status.unwrap().code, 0, "{mode:?}");
    }
}

#[tokio::test]
async fn a_check_is_refused_also_if_the_observer_panics_on_its_panic() {
    let (service, _) = service(Mode::Enforce);
    let checks = Arc::into_inner(service.checks).unwrap();
    let panicking = AuthorizationService::new(
        checks.authorizer,
        Box::new(|_: &CompletedCheck<'_, EncodedKey>| panic!("the panic that this test asks for")),
        checks.clock,
        MAX_MESSAGE,
    );
    let response = ask(&panicking, request("/", Some("k1"))).await.unwrap();
    assert_eq!(response.status.unwrap().code, 13);
}

#[tokio::test]
async fn other_methods_do_not_exist() {
    let (service, _) = service(Mode::Observe);
    for path in [
        "/envoy.service.auth.v3.Authorization/Other",
        "/envoy.service.auth.v2.Authorization/Check",
    ] {
        assert_eq!(
            ask_body(&service, path, &framed(b""), None)
                .await
                .unwrap_err()
                .code(),
            Code::Unimplemented
        );
    }
}

#[tokio::test]
async fn a_check_of_as_many_bytes_as_allowed_is_read_and_one_of_more_is_refused_in_an_answer() {
    let (service, seen) = service(Mode::Enforce);
    let long = "/".repeat(MAX_MESSAGE / 2);
    let rest = request(&long, Some("k1")).encoded_len() - long.len();
    let path = "/".repeat(MAX_MESSAGE - rest);
    let fits = request(&path, Some("k1"));
    assert_eq!(fits.encoded_len(), MAX_MESSAGE);
    let allowed = ask(&service, fits).await.unwrap();
    assert_eq!(allowed.status.unwrap().code, 0);
    let refused = ask(&service, request(&(path + "/"), Some("k1"))).await;
    assert_eq!(refused.unwrap().status.unwrap().code, 3);
    assert_eq!(seen.lock().unwrap()[1].0, Reason::BadRequest);
}

#[tokio::test]
async fn a_check_that_does_not_come_whole_is_refused_in_an_answer_in_observe_mode_too() {
    let announced = u32::try_from(MAX_MESSAGE + 1).unwrap().to_be_bytes();
    let bodies = [
        ("too large", [&[0], &announced[..], b"x"].concat()),
        ("much too large", vec![0, 255, 255, 255, 255]),
        ("truncated", framed(b"message")[..9].to_vec()),
        ("truncated prefix", vec![0, 0]),
        ("nothing", Vec::new()),
    ];
    for mode in [Mode::Enforce, Mode::Observe] {
        let (service, seen) = service(mode);
        for (name, body) in &bodies {
            let response = ask_body(&service, CHECK_PATH, body, None).await.unwrap();
            // What it carries could not be stripped.
            assert_eq!(response.status.unwrap().code, 3, "{mode:?} {name}");
            let denied = matches!(
                response.http_response,
                Some(HttpResponse::DeniedResponse(_))
            );
            assert!(denied, "{mode:?} {name}");
        }
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), bodies.len());
        assert!(
            seen.iter()
                .all(|(reason, ..)| *reason == Reason::BadRequest)
        );
    }
}

/// A body that breaks off, as one does that is late or finds no room.
struct Failing;

impl hyper::body::Body for Failing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Err(std::io::Error::other("no room"))))
    }
}

#[tokio::test]
async fn a_check_that_is_late_or_finds_no_room_is_refused_in_observe_mode_too() {
    for mode in [Mode::Enforce, Mode::Observe] {
        let (service, seen) = service(mode);
        let mut request = http::Request::new(Failing);
        *request.uri_mut() = CHECK_PATH.parse().unwrap();
        let answer = service.clone().call(request).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap().to_bytes();
        let answer = CheckResponse::decode(answer.slice(5..)).unwrap();
        let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else {
            panic!("{mode:?}: let through with all its secrets")
        };
        assert_eq!(denied.status.unwrap().code, 503, "{mode:?}");
        assert_eq!(seen.lock().unwrap()[0].0, Reason::Overloaded);
    }
}

#[test]
fn unreadable_checks_are_logged_once_in_a_while() {
    let throttle = LogThrottle::default();
    let due = |seconds| throttle.is_due(Duration::from_secs(seconds));
    let seconds = [0, 0, 1, 59, 60, 61, 119, 120];
    let expected = [true, false, false, false, true, false, false, true];
    assert_eq!(seconds.map(due), expected);
}

#[tokio::test]
async fn a_compressed_message_is_refused_as_grpc_has_it() {
    let (service, _) = service(Mode::Enforce);
    for (flag, encoding, code) in [
        (1, Some("gzip"), Code::Unimplemented),
        (1, Some("identity"), Code::Internal),
        (1, None, Code::Internal),
        (2, Some("gzip"), Code::Internal),
    ] {
        let mut body = framed(b"message");
        body[0] = flag;
        let refused = ask_body(&service, CHECK_PATH, &body, encoding).await;
        let status = refused.unwrap_err();
        assert_eq!(status.code(), code, "{flag} {encoding:?}");
        if code == Code::Unimplemented {
            assert_eq!(
                status.metadata().get("grpc-accept-encoding").unwrap(),
                "identity"
            );
        }
    }
}

/// The decision's id in the answer's metadata.
fn decision_id(response: &CheckResponse) -> Uuid {
    use envoy_types::pb::google::protobuf::value::Kind;
    let metadata = response.dynamic_metadata.clone().unwrap();
    let Some(Kind::StructValue(members)) = metadata.fields["keyward"].kind.clone() else {
        panic!("{metadata:?}")
    };
    let Some(Kind::StringValue(text)) = members.fields["decision_id"].kind.clone() else {
        panic!("{members:?}")
    };
    text.parse().unwrap()
}

#[tokio::test]
async fn every_decision_has_an_id_of_its_own_a_panic_too() {
    let (service, _) = service(Mode::Enforce);
    let mut ids = std::collections::HashSet::new();
    for path in ["/a", "/a", "/panic", "/panic"] {
        for key in [Some("k1"), None] {
            let response = ask(&service, request(path, key)).await.unwrap();
            let id = decision_id(&response);
            assert_eq!(id.get_version_num(), 7);
            assert!(ids.insert(id), "{path}: {id} comes twice");
        }
    }
}
