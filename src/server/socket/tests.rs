//! Tests of putting sockets in place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use tokio::net::UnixStream;

use super::*;
use crate::watch::named_file::NamedFile;

fn unix(path: &Path) -> ListenAddress {
    ListenAddress::Unix {
        path: path.to_owned().into(),
        mode: 0o660,
    }
}

/// At that path, which the configuration has in other words.
fn told(path: &Path, written: &str) -> ListenAddress {
    ListenAddress::Unix {
        path: NamedFile::new(path.to_owned(), Some(written.to_owned())),
        mode: 0o660,
    }
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn a_unix_socket_has_its_mode_and_answers_and_goes_with_its_listener() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("keyward.sock");
    let listener = Listener::bind(&unix(&path)).await.unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    assert_eq!(names(&dir), ["keyward.sock"], "nothing else is left behind");
    assert_eq!(listener.address(), format!("unix:{}", path.display()));
    let (connected, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
    connected.unwrap();
    accepted.unwrap();
    drop(listener);
    assert!(names(&dir).is_empty());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    // A listener of the standard library leaves its file behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let first = Listener::bind(&unix(&path)).await.unwrap();
    let second = Listener::bind(&unix(&path)).await;
    assert!(matches!(second, Err(BindError::InUse { .. })), "{second:?}");
    UnixStream::connect(&path).await.unwrap();
    drop(first);
}

#[tokio::test]
async fn the_end_of_a_server_leaves_its_successors_socket_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("s");
    let first = Listener::bind(&unix(&path)).await.unwrap();
    fs::remove_file(&path).unwrap();
    let second = Listener::bind(&unix(&path)).await.unwrap();
    drop(first);
    UnixStream::connect(&path).await.unwrap();
    drop(second);
}

#[tokio::test]
async fn what_a_killed_process_left_half_way_does_not_hinder_the_next() {
    let dir = TempDir::new().unwrap();
    let directory_for_mode = dir.path().join(format!(".kw{}", std::process::id()));
    fs::create_dir(&directory_for_mode).unwrap();
    fs::write(directory_for_mode.join("s"), "").unwrap();
    Listener::bind(&unix(&dir.path().join("s"))).await.unwrap();
    assert!(!directory_for_mode.exists());
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_named_with_what_would_be_right() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    let taken = Listener::bind(&ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()))
        .await
        .unwrap();
    let taken_address: SocketAddr = taken.address().parse().unwrap();
    for (address, said) in [
        (
            unix(&file),
            "is not a socket: remove it, or give another path",
        ),
        (unix(&dir.path().join("none/s")), "none does not exist"),
        (
            told(&dir.path().join("none/s"), "${SOCKET}"),
            "${SOCKET} does not exist",
        ),
        (
            told(&dir.path().join("none/s"), "${RUN}/s"),
            "${RUN} does not exist",
        ),
        (
            told(&file, "${SOCKET}"),
            "${SOCKET} is there and is not a socket",
        ),
        (
            ListenAddress::Tcp(taken_address),
            "is in use by another process",
        ),
        (
            ListenAddress::Tcp("203.0.113.7:9191".parse().unwrap()),
            "is not an address of this machine",
        ),
    ] {
        let error = Listener::bind(&address).await.unwrap_err().to_string();
        assert!(error.contains(said), "{address}: {error}");
        let dir = dir.path().to_string_lossy();
        assert!(!said.contains('$') || !error.contains(&*dir), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}
