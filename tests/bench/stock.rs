//! The reference to which keyward's numbers are compared: the obvious implementation.
//!
//! tonic's server with its defaults, the messages of the `envoy-types` crate, every request allowed
//! unread, on tokio's `multi_thread` runtime. With `--current-thread` it is `ref_ct`, the same on
//! the `current_thread` runtime. Keep it this plain: a slower reference would flatter keyward.
#![expect(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program of the bench: it logs to stderr as keyward does and reads the real clock"
)]

use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

use clap::Parser;
use envoy_types::ext_authz::v3::CheckResponseExt;
use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse,
};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// An `ext_authz` server that allows everything.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 is resolved in the `listening` line.
    #[arg(long, default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// Serve from one `current_thread` runtime.
    #[arg(long)]
    current_thread: bool,
}

struct AllowAll;

#[tonic::async_trait]
impl Authorization for AllowAll {
    async fn check(
        &self,
        _request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse::with_status(Status::ok(""))))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let arguments = Arguments::parse();
    let runtime = if arguments.current_thread {
        runtime::Builder::new_current_thread().enable_all().build()
    } else {
        runtime::Builder::new_multi_thread().enable_all().build()
    };
    runtime?.block_on(serve(arguments.address, started))
}

async fn serve(address: SocketAddr, started: Instant) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address).await?;
    let grpc = listener.local_addr()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    eprintln!(r#"{{"level":"info","msg":"listening","grpc":"{grpc}"}}"#);
    let ms = started.elapsed().as_millis();
    eprintln!(r#"{{"level":"info","msg":"ready","ms":{ms}}}"#);

    // serve_with_incoming does not apply tonic's default for nodelay to a given listener.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = Server::builder()
        .add_service(AuthorizationServer::new(AllowAll))
        .serve_with_incoming(incoming);
    // On a signal, return from main: callgrind writes its total only when the process exits by
    // itself.
    tokio::select! {
        served = serving => served?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
