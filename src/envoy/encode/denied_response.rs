//! A `DeniedHttpResponse`: status, headers and body of a refusal, as Envoy's fields.
//!
//! Its content comes from `answer`; here each field gets its form on the wire, and the answer the
//! gRPC status that makes it a refusal to Envoy.

use prost::Message as _;
use tonic::Code;

use super::header;
use crate::answer::denial::Denial;
use crate::authz::reason::Reason;
use crate::envoy::proto::envoy::service::auth::v3::DeniedHttpResponse;
use crate::envoy::proto::envoy::r#type::v3::HttpStatus;
use crate::envoy::proto::google::rpc::Status;

/// The status that makes an answer a refusal, of the denial for that reason. Never zero.
pub(super) fn status(denial: &Denial, reason: Reason) -> Vec<u8> {
    let code = match denial.status {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        429 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        _ => Code::Internal,
    };
    Status {
        code: code.into(),
        message: reason.as_str().to_owned(),
    }
    .encode_to_vec()
}

/// The fields of the message.
pub(super) fn encode(denial: Denial) -> Vec<u8> {
    let headers = denial.headers.into_iter();
    DeniedHttpResponse {
        status: Some(HttpStatus {
            code: denial.status.into(),
        }),
        headers: headers.map(|(name, value)| header(name, value)).collect(),
        body: denial.body,
    }
    .encode_to_vec()
}
