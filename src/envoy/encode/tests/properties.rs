//! What holds of every answer, whatever the request.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn places() -> impl Strategy<Value = Vec<CredentialPlace>> {
    let place = prop_oneof![
        Just(CredentialLocation::Header {
            name: "x-api-key".into()
        }),
        Just(CredentialLocation::Scheme {
            name: "authorization".into(),
            scheme: "Bearer".into()
        }),
        Just(CredentialLocation::Header {
            name: "authorization".into()
        }),
        Just(CredentialLocation::Query {
            name: "api_key".into(),
            strip: QueryStrip::Parameter
        }),
        Just(CredentialLocation::Query {
            name: "token".into(),
            strip: QueryStrip::Path
        }),
        Just(CredentialLocation::Cookie {
            name: "api_key".into()
        }),
        Just(CredentialLocation::Header {
            name: "cookie".into()
        }),
    ];
    let prefix = prop::option::of(Just("k".into()));
    let place = (place, prefix).prop_map(|(location, prefix)| CredentialPlace { location, prefix });
    vec(place, 1..5)
}

fn line() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop_oneof![
        3 => prop::sample::select(vec![
            "cookie", "authorization", "x-api-key", "x_keyward_plan", "x-keyward_client", "X-KEYWARD-PLAN", "x-org-id",
            "content-type",
        ]).prop_map(str::to_owned),
        1 => ".{0,6}",
    ];
    let value = prop_oneof![
        3 => prop::sample::select(vec![
            "Bearer k", "bearer", "api_key=K; a=b", "api_key=K", "a=b,api_key=K", "application/grpc", "a=\u{0}\r\nx: y; api_key",
        ]).prop_map(|value| value.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..12),
    ];
    (name, value)
}

fn breaks_a_line(text: &str) -> bool {
    text.contains(['\r', '\n', '\0'])
}

fn is_clean(options: &[HeaderValueOption]) -> bool {
    headers(options)
        .into_iter()
        .all(|(name, value)| !breaks_a_line(name) && !breaks_a_line(value))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_header_breaks_its_line_and_none_is_named_twice(
        places in places(),
        lines in vec(line(), 0..12),
        target in prop_oneof![Just("/?api_key=K".to_owned()), ".{0,9}"],
        metadata in ".{0,8}",
        which in 0..3,
        reason in prop::sample::select(Reason::ALL.to_vec()),
    ) {
        let policy = Policy { credentials: CredentialPlaces::new(places).unwrap(), ..policy() };
        // A record whose values were never checked.
        let metadata = [("org".into(), MetadataValue::Scalar(metadata.into()))].into();
        let policy = Policy {
            identity: IdentityHeaders::new(vec![
                ("x-org-id".parse().unwrap(), "key.metadata.org".parse().unwrap()),
                ("x-keyward-client".parse().unwrap(), "key.client".parse().unwrap()),
                ("x-keyward-plan".parse().unwrap(), "key.plan".parse().unwrap()),
            ]).unwrap(),
            ..policy
        };
        let key = EncodedKey::of(&KeyRecord { metadata, ..key() }, &policy);
        let headers: Headers<'_> = lines.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        let target = target.as_bytes();
        let request = RequestAttributes { target, headers, ..request(&[]) };
        let refusal = Refusal { key: Some(key.clone()), ..Refusal::new(reason) };
        let grounds = match which {
            0 => Grounds::Key(key),
            1 => Grounds::Public,
            _ => Grounds::Observed(Refusal::new(reason)),
        };
        let grant = Grant { grounds, rule: None };

        let allowed = decode(&encode_response(&Decision::Allow(grant), &policy, Some(&request), "id"));
        let Some(HttpResponse::OkResponse(ok)) = allowed.http_response else { panic!("{allowed:?}") };
        prop_assert!(is_clean(&ok.headers));
        let set = super::headers(&ok.headers);
        let mut named: Vec<String> = set.into_keys().map(str::to_ascii_lowercase).collect();
        named.extend(ok.headers_to_remove.iter().map(|name| name.to_ascii_lowercase()));
        prop_assert!(!named.iter().any(|name| breaks_a_line(name)));
        let count = named.len();
        named.sort();
        named.dedup();
        prop_assert_eq!(named.len(), count, "{:?}", ok);

        let refused = decode(&encode_response(&Decision::Deny(refusal), &policy, Some(&request), "id"));
        prop_assert!(refused.status.as_ref().is_some_and(|status| status.code > 0));
        prop_assert!(is_clean(&denial(&refused).headers));
    }
}
