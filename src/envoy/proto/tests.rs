//! The trimmed messages against those of envoy-types, in both directions and by name.
//!
//! Every literal of a message of ours names all its fields, so that a new field cannot go untested:
//! it does not compile until it is here.

use bytes::Bytes;
use envoy_types::pb as theirs;
use prost::Message;

use super::envoy as ours;
use super::google::rpc::Status;
use ours::config::core::v3 as our_core;
use ours::service::auth::v3 as our_auth;
use theirs::envoy::config::core::v3 as their_core;
use theirs::envoy::service::auth::v3 as their_auth;

fn our_request(address: our_core::address::Address) -> our_auth::CheckRequest {
    let line = |key: &str, value: &str, raw: &'static [u8]| our_core::HeaderValue {
        key: key.into(),
        value: value.into(),
        raw_value: Bytes::from_static(raw),
    };
    our_auth::CheckRequest {
        attributes: Some(our_auth::AttributeContext {
            source: Some(our_auth::attribute_context::Peer {
                address: Some(our_core::Address {
                    address: Some(address),
                }),
            }),
            request: Some(our_auth::attribute_context::Request {
                http: Some(our_auth::attribute_context::HttpRequest {
                    method: "GET".into(),
                    headers: [("a".to_owned(), "b".to_owned())].into(),
                    path: "/p?q".into(),
                    host: "h:1".into(),
                    scheme: "http".into(),
                    header_map: Some(our_core::HeaderMap {
                        headers: vec![line("c", "d", b""), line("e", "", b"\xff")],
                    }),
                }),
            }),
            context_extensions: [("keyward.rule".to_owned(), "r".to_owned())].into(),
        }),
    }
}

fn our_addresses() -> [our_core::address::Address; 3] {
    [
        our_core::address::Address::SocketAddress(our_core::SocketAddress {
            address: "10.0.0.1".into(),
        }),
        our_core::address::Address::Pipe(our_core::Pipe { path: "@p".into() }),
        our_core::address::Address::EnvoyInternalAddress(our_core::EnvoyInternalAddress {
            endpoint_id: "i".into(),
        }),
    ]
}

#[expect(
    deprecated,
    reason = "append_action, which replaces append elsewhere, is ignored on requests"
)]
fn their_append(option: &their_core::HeaderValueOption) -> Option<bool> {
    option.append.as_ref().map(|append| append.value)
}

fn our_option(key: &str) -> our_core::HeaderValueOption {
    our_core::HeaderValueOption {
        header: Some(our_core::HeaderValue {
            key: key.into(),
            value: "v".into(),
            raw_value: Bytes::from_static(b"raw"),
        }),
        append: Some(true),
    }
}

fn our_metadata() -> prost_types::Struct {
    let value = |kind| prost_types::Value { kind: Some(kind) };
    let text = value(prost_types::value::Kind::StringValue("allow".into()));
    let inner = prost_types::Struct {
        fields: [("decision".to_owned(), text)].into(),
    };
    let outer = value(prost_types::value::Kind::StructValue(inner));
    prost_types::Struct {
        fields: [("keyward".to_owned(), outer)].into(),
    }
}

fn our_denial() -> our_auth::DeniedHttpResponse {
    our_auth::DeniedHttpResponse {
        status: Some(ours::r#type::v3::HttpStatus { code: 401 }),
        headers: vec![our_option("h")],
        body: "b".into(),
    }
}

fn our_answers() -> [our_auth::check_response::HttpResponse; 3] {
    use our_auth::check_response::HttpResponse as Answer;
    [
        Answer::DeniedResponse(our_denial()),
        Answer::ErrorResponse(our_denial()),
        Answer::OkResponse(our_auth::OkHttpResponse {
            headers: vec![our_option("o")],
            headers_to_remove: vec!["gone".into()],
            query_parameters_to_remove: vec!["query".into()],
        }),
    ]
}

fn our_response(answer: our_auth::check_response::HttpResponse) -> our_auth::CheckResponse {
    our_auth::CheckResponse {
        status: Some(Status {
            code: 16,
            message: "m".into(),
        }),
        dynamic_metadata: Some(our_metadata()),
        http_response: Some(answer),
    }
}

/// What is left after the others' types have decoded and encoded it again: a field that they do not
/// have is lost.
fn through<Theirs: Message + Default, Ours: Message + Default>(message: &Ours) -> Ours {
    let theirs = Theirs::decode(&*message.encode_to_vec()).unwrap();
    Ours::decode(&*theirs.encode_to_vec()).unwrap()
}

#[test]
fn nothing_of_ours_is_lost_on_the_way_through_envoys_own_types() {
    for address in our_addresses() {
        let request = our_request(address);
        assert_eq!(through::<their_auth::CheckRequest, _>(&request), request);
    }
    for answer in our_answers() {
        let response = our_response(answer);
        assert_eq!(through::<their_auth::CheckResponse, _>(&response), response);
    }
}

#[test]
fn a_request_means_the_same_by_name_to_envoys_own_types() {
    use their_core::address::Address;

    let [socket, pipe, internal] = our_addresses().map(|address| {
        let bytes = our_request(address).encode_to_vec();
        let attributes = their_auth::CheckRequest::decode(&*bytes)
            .unwrap()
            .attributes
            .unwrap();
        attributes.source.unwrap().address.unwrap().address.unwrap()
    });
    assert!(matches!(socket, Address::SocketAddress(found) if found.address == "10.0.0.1"));
    assert!(matches!(pipe, Address::Pipe(found) if found.path == "@p"));
    assert!(matches!(internal, Address::EnvoyInternalAddress(found) if found.endpoint_id == "i"));

    let [socket, ..] = our_addresses();
    let request = their_auth::CheckRequest::decode(&*our_request(socket).encode_to_vec()).unwrap();
    let attributes = request.attributes.unwrap();
    assert_eq!(
        attributes.context_extensions,
        [("keyward.rule".to_owned(), "r".to_owned())].into()
    );
    let http = attributes.request.unwrap().http.unwrap();
    assert_eq!(
        (&*http.method, &*http.path, &*http.host, &*http.scheme),
        ("GET", "/p?q", "h:1", "http")
    );
    assert_eq!(http.headers, [("a".to_owned(), "b".to_owned())].into());
    let lines = http.header_map.unwrap().headers;
    let lines: Vec<_> = lines
        .iter()
        .map(|line| (&*line.key, &*line.value, &*line.raw_value))
        .collect();
    assert_eq!(lines, [("c", "d", &b""[..]), ("e", "", b"\xff")]);
}

#[test]
fn an_answer_means_the_same_by_name_to_envoys_own_types() {
    use their_auth::check_response::HttpResponse as Answer;

    let read =
        |answer| their_auth::CheckResponse::decode(&*our_response(answer).encode_to_vec()).unwrap();
    let headers = |options: &[their_core::HeaderValueOption]| {
        let header = options[0].header.clone().unwrap();
        (
            header.key,
            header.value,
            header.raw_value,
            their_append(&options[0]),
        )
    };
    let expected = |key: &str| (key.to_owned(), "v".to_owned(), b"raw".to_vec(), Some(true));
    for (ours, is_error) in our_answers().into_iter().zip([false, true]) {
        let response = read(ours);
        let status = response.status.unwrap();
        assert_eq!((status.code, &*status.message), (16, "m"));
        let denial = match response.http_response.unwrap() {
            Answer::DeniedResponse(denial) if !is_error => denial,
            Answer::ErrorResponse(denial) if is_error => denial,
            other @ (Answer::DeniedResponse(_)
            | Answer::ErrorResponse(_)
            | Answer::OkResponse(_)) => panic!("{other:?}"),
        };
        assert_eq!((denial.status.unwrap().code, &*denial.body), (401, "b"));
        assert_eq!(headers(&denial.headers), expected("h"));
        let bytes = response.dynamic_metadata.unwrap().encode_to_vec();
        assert_eq!(
            prost_types::Struct::decode(&*bytes).unwrap(),
            our_metadata()
        );
    }
    let [.., ok] = our_answers();
    let Some(Answer::OkResponse(ok)) = read(ok).http_response else {
        panic!("not an allow")
    };
    assert_eq!(headers(&ok.headers), expected("o"));
    assert_eq!(ok.headers_to_remove, ["gone"]);
    assert_eq!(ok.query_parameters_to_remove, ["query"]);
}

#[test]
fn the_statuses_that_are_sent_have_envoys_numbers() {
    for number in [0, 400, 401, 403, 429, 500, 503] {
        let ours = ours::r#type::v3::StatusCode::try_from(number).unwrap();
        let theirs = theirs::envoy::r#type::v3::StatusCode::try_from(number).unwrap();
        assert_eq!(ours.as_str_name(), theirs.as_str_name());
    }
}

#[test]
fn the_descriptors_hold_the_service_and_all_that_it_needs() {
    let set = prost_types::FileDescriptorSet::decode(super::FILE_DESCRIPTOR_SET).unwrap();
    let files: Vec<_> = set
        .file
        .iter()
        .map(prost_types::FileDescriptorProto::name)
        .collect();
    for file in &set.file {
        assert!(
            file.dependency
                .iter()
                .all(|needed| files.contains(&&**needed)),
            "{files:?} lack some of {file:?}"
        );
    }
    let service = set
        .file
        .iter()
        .find(|file| file.package() == "envoy.service.auth.v3" && !file.service.is_empty());
    let service = &service.unwrap().service[0];
    assert_eq!(
        (service.name(), service.method[0].name()),
        ("Authorization", "Check")
    );
    // tonic's reflection refuses a set that does not hold together.
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(super::FILE_DESCRIPTOR_SET)
        .build_v1()
        .unwrap();
}
