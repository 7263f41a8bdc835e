//! What refusals tell Envoy and the caller.

use super::*;

#[test]
fn every_answer_but_an_allow_has_a_status_that_is_not_zero() {
    for &reason in Reason::ALL {
        // Even a refusal for a reason that allows, which no code makes, may not become an allow.
        let decision = Decision::Deny(Refusal::<EncodedKey>::new(reason));
        let response = decode(&encode_response(&decision, &policy(), None, "id"));
        assert!(
            response
                .status
                .as_ref()
                .is_some_and(|status| status.code > 0),
            "{reason}: {response:?}"
        );
        let sent = denial(&response).status.as_ref().unwrap().code;
        assert!(
            matches!(sent, 400 | 401 | 403 | 429 | 500 | 503),
            "{reason}: {sent}"
        );
        assert!(
            reason.kind() == DecisionKind::Allow || sent == i32::from(reason.http_status()),
            "{reason}"
        );
    }
}

#[test]
fn statuses_are_those_that_grpc_has_for_them() {
    for (reason, code) in [
        (Reason::BadRequest, 3),
        (Reason::MissingKey, 16),
        (Reason::RouteDenied, 7),
        (Reason::InvalidRecord, 13),
        (Reason::Overloaded, 14),
        (Reason::InternalError, 13),
    ] {
        let response = refuse(Refusal::new(reason), &policy(), &[]);
        let status = response.status.unwrap();
        assert_eq!((status.code, &*status.message), (code, reason.as_str()));
    }
}

#[test]
fn only_a_source_that_fails_is_an_error_to_envoy() {
    for &reason in Reason::ALL
        .iter()
        .filter(|reason| reason.kind() != DecisionKind::Allow)
    {
        let response = refuse(Refusal::new(reason), &policy(), &[]);
        let is_error = matches!(response.http_response, Some(HttpResponse::ErrorResponse(_)));
        assert_eq!(is_error, reason == Reason::SourceUnavailable, "{reason}");
    }
}

#[test]
fn a_caller_who_speaks_http_gets_a_problem_document() {
    let moment = "2027-02-01T00:00:00Z".parse().unwrap();
    let refusal = Refusal {
        moment: Some(moment),
        ..Refusal::new(Reason::KeyExpired)
    };
    for content_type in [
        "application/json",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpcx",
    ] {
        let refusal = Refusal {
            key: None,
            ..refusal
        };
        let response = refuse(refusal, &policy(), &[("content-type", content_type)]);
        let denial = denial(&response);
        assert_eq!(
            denial.body,
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"code":"key_expired","detail":"The API key expired at 2027-02-01T00:00:00Z."}"#,
        );
        assert_eq!(
            headers(&denial.headers)["content-type"],
            "application/problem+json"
        );
    }
}

#[test]
fn a_grpc_caller_gets_one_plain_sentence() {
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let response = refuse(
            Refusal::new(Reason::UnknownKey),
            &policy(),
            &[("content-type", content_type)],
        );
        let denial = denial(&response);
        assert_eq!(denial.body, "The API key is not known.");
        assert!(
            !headers(&denial.headers).contains_key("content-type"),
            "that is Envoy's to set"
        );
        assert_eq!(headers(&denial.headers)["cache-control"], "no-store");
    }
}

#[test]
fn refusals_have_the_headers_of_their_status() {
    let scopes: [Scope; 2] = ["admin", "a:b"].map(|scope| scope.parse().unwrap());
    let bearer = policy();
    let others = Policy {
        credentials: CredentialPlaces::new(vec![
            CredentialLocation::Header {
                name: "x-api-key".into(),
            }
            .into(),
        ])
        .unwrap(),
        ..policy()
    };
    let invalid = r#"Bearer realm="keyward", error="invalid_token""#;
    let lacking = r#"Bearer realm="keyward", error="insufficient_scope", scope="admin a:b""#;
    for (reason, policy, challenge, retry_after) in [
        (
            Reason::MissingKey,
            &bearer,
            Some(r#"Bearer realm="keyward""#),
            None,
        ),
        (Reason::UnknownKey, &bearer, Some(invalid), None),
        (Reason::KeyRevoked, &bearer, Some(invalid), None),
        (Reason::AmbiguousKey, &bearer, Some(invalid), None),
        (
            Reason::MissingKey,
            &others,
            Some(r#"ApiKey realm="keyward""#),
            None,
        ),
        (
            Reason::UnknownKey,
            &others,
            Some(r#"ApiKey realm="keyward""#),
            None,
        ),
        (Reason::InsufficientScope, &bearer, Some(lacking), None),
        (Reason::RouteDenied, &bearer, None, None),
        (Reason::BadRequest, &bearer, None, None),
        (Reason::InvalidRecord, &bearer, None, None),
        (Reason::SourceUnavailable, &bearer, None, Some("1")),
        (Reason::LimitsUnavailable, &bearer, None, Some("1")),
        (Reason::Overloaded, &bearer, None, Some("1")),
        (Reason::InternalError, &bearer, None, None),
    ] {
        let refusal = Refusal {
            scopes: &scopes,
            ..Refusal::new(reason)
        };
        let response = refuse(refusal, policy, &[]);
        let headers = headers(&denial(&response).headers);
        assert_eq!(
            headers.get("www-authenticate").copied(),
            challenge,
            "{reason}"
        );
        assert_eq!(headers.get("retry-after").copied(), retry_after, "{reason}");
        assert_eq!(headers["cache-control"], "no-store", "{reason}");
    }
}
