//! The results of one search over HTTP, on loopback only.

use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use hyper::service::{make_service_fn, service_fn};
use hyper::{Body, Response, Server, StatusCode};

/// Answers every request with a fresh search for `pattern` below `root`, until killed.
///
/// # Errors
/// The port is taken.
pub fn serve(port: u16, pattern: String, root: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    println!("http://{}/", listener.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async move {
        let service = make_service_fn(move |_| {
            let (pattern, root) = (pattern.clone(), root.clone());
            async move {
                Ok::<_, Infallible>(service_fn(move |_| {
                    let response = respond(&pattern, &root);
                    async move { Ok::<_, Infallible>(response) }
                }))
            }
        });
        Server::from_tcp(listener)?.serve(service).await
    })?;
    Ok(())
}

fn respond(pattern: &str, root: &Path) -> Response<Body> {
    let found = scan::search(pattern, root).map(|report| serde_json::to_string(&report));
    let (status, body) = match found {
        Ok(Ok(json)) => (StatusCode::OK, json),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}
