//! One keep-alive connection: a request out, an answer in.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::wire::{Credentials, Head, Malformed, Request, parse_head, write_request};

const FIRST_BUFFER_BYTES: usize = 16 * 1024;
/// A bulk answer is well below this; more is a fault.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A connection with the buffers of its requests.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    out: Vec<u8>,
    input: Vec<u8>,
    /// Whether the stream can no longer be used: after a failure, a cut-off wait or a goodbye of the server.
    broken: bool,
}

/// An answer, in the buffer of its connection.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.body).unwrap_or(serde_json::Value::Null)
    }

    /// For messages: the status and the beginning of the body.
    pub(crate) fn describe(&self) -> String {
        let text = String::from_utf8_lossy(self.body);
        let short: String = text.chars().take(300).collect();
        format!("{} {short}", self.status)
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            address,
            stream: connect(address).await?,
            out: Vec::with_capacity(1024),
            input: vec![0; FIRST_BUFFER_BYTES],
            broken: false,
        })
    }

    /// Sends a request and waits for the answer. After a failure the next request opens the connection again.
    pub(crate) async fn exchange(
        &mut self,
        request: &Request,
        credentials: &Credentials,
    ) -> io::Result<Answer<'_>> {
        if self.broken {
            self.stream = connect(self.address).await?;
        }
        self.broken = true;
        write_request(&mut self.out, request, credentials);
        self.stream.write_all(&self.out).await?;
        let head = self.read_answer().await?;
        self.broken = head.closes;
        let body = &self.input[head.head_bytes..head.head_bytes + head.body_bytes];
        Ok(Answer {
            status: head.status,
            body,
        })
    }

    async fn read_answer(&mut self) -> io::Result<Head> {
        let mut filled = 0;
        let mut head: Option<Head> = None;
        loop {
            if head.is_none() {
                head = parse_head(&self.input[..filled]).map_err(malformed)?;
            }
            if let Some(head) = head {
                let end = head.head_bytes + head.body_bytes;
                if filled == end {
                    return Ok(head);
                }
                if filled > end || end > MAX_ANSWER_BYTES {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the answer is longer than it should be",
                    ));
                }
                if self.input.len() < end {
                    self.input.resize(end, 0);
                }
            } else if filled == self.input.len() {
                self.input.resize(2 * filled, 0);
            }
            match self.stream.read(&mut self.input[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn malformed(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers in pieces, closes in between, and is reached again.
    #[tokio::test]
    async fn answers_in_pieces_and_lost_connections_are_survived() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let in_pieces = vec!["HTTP/1.1 201 Created\r\nConte", "nt-Length: 5\r\n\r\nhe", "llo"];
            let whole = vec!["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"];
            for pieces in [in_pieces, vec![], whole] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await.unwrap();
                for piece in &pieces {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
                if !pieces.is_empty() {
                    // The next request, which this connection does not answer.
                    let _ = stream.read(&mut request).await;
                }
            }
        });
        let mut connection = Connection::open(address).await.unwrap();
        let request = Request::new("GET", "/");
        let answer = connection.exchange(&request, &Credentials::None).await.unwrap();
        assert_eq!((answer.status, answer.body), (201, b"hello".as_slice()));
        assert!(
            connection.exchange(&request, &Credentials::None).await.is_err(),
            "the server has closed"
        );
        let mut last = None;
        for _ in 0..3 {
            last = connection
                .exchange(&request, &Credentials::None)
                .await
                .ok()
                .map(|answer| answer.status);
            if last.is_some() {
                break;
            }
        }
        assert_eq!(last, Some(200));
    }
}
