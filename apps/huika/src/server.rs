//! The HTTP server: accepts, serves, and stops without dropping what it has begun to answer.
//!
//! A connection that sends no request headers for [`HEADERS_WITHIN`] is closed, and there are never more than
//! [`MAX_CONNECTIONS`]: whoever opens sockets and says nothing cannot keep others out.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use huika_core::Clock;
use huika_http::PeerAddress;
use hyper::{Request, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::error::CommandError;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;
/// Connections that are open at once.
const MAX_CONNECTIONS: usize = 10_000;
/// From the start of the wait for a request to the end of its headers; idle connections are closed after it.
const HEADERS_WITHIN: Duration = Duration::from_secs(75);
/// The pause after the system could not accept, for example because of too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a stopping server lets running requests finish.
const STOP_GRACE: Duration = Duration::from_secs(25);

/// A socket that listens already, so that a taken port is found before anything else starts.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// [`CommandError::CannotListen`].
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, CommandError> {
        let refused = |error: io::Error| CommandError::CannotListen {
            address: address.to_string(),
            reason: error.to_string(),
        };
        let listener = listen(address).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it listens: with the port that the system chose where 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` ends, then finishes what runs, at most [`STOP_GRACE`].
    pub(crate) async fn run(self, router: Router, clock: &Clock, stop: impl Future<Output = ()>) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
        let (http, service) = (Arc::new(http), TowerToHyperService::new(router));
        let (connections, free) = (GracefulShutdown::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &free) => accepted,
                () = &mut stop => break,
            };
            let (stream, peer, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !is_of_the_peer(&error) {
                        tracing::warn!(%error, "the server cannot accept a connection");
                        clock.sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
            };
            let service = Located {
                peer: PeerAddress(peer),
                service: service.clone(),
            };
            let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                // A peer that went away or spoke no HTTP is nothing that we could act on.
                let _ = connection.await;
                drop(place);
            });
        }
        drop(self.listener);
        tokio::select! {
            () = connections.shutdown() => {}
            () = clock.sleep(STOP_GRACE) => {
                let open = MAX_CONNECTIONS - free.available_permits();
                tracing::warn!(open, "connections are cut off: their requests did not finish in time");
            }
        }
    }
}

/// Says with every request from where its connection comes.
struct Located<S> {
    peer: PeerAddress,
    service: S,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for Located<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> S::Future {
        request.extensions_mut().insert(self.peer);
        self.service.call(request)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the process before it.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Waits for a free place, then for somebody to take it.
async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(free).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Answers are small and complete: waiting to send more with them only costs time.
    stream.set_nodelay(true)?;
    Ok((stream, peer.ip(), place))
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionAborted | ConnectionReset | InvalidInput
    )
}
