//! The simulator: a streaming server with OpenAI's and Ollama's APIs whose behaviour is known in closed form.
//!
//! For the quick start, for the calibration of clients and for tests. It computes nothing: a request holds one of
//! `slots` for a time that the settings fix, and its tokens leave on an absolute schedule. One thread; no TLS, no
//! authentication.

use std::rc::Rc;

use anyhow::{Context, Result};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::LocalSet};

use crate::{load::Timer, services::SimulatorSettings};

mod answer;
mod engine;
mod ollama;
mod openai;
pub mod timed;

/// Serves until the process ends.
pub fn serve(settings: SimulatorSettings, host: &str, port: u16) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
    runtime.block_on(LocalSet::new().run_until(async {
        let listener =
            TcpListener::bind((host, port)).await.with_context(|| format!("cannot listen on {host}:{port}"))?;
        serve_on(listener, settings).await
    }))
}

/// Serves the connections of `listener`; inside a `LocalSet`.
async fn serve_on(listener: TcpListener, settings: SimulatorSettings) -> Result<()> {
    let timer = Timer::start(false).context("cannot make a timer")?;
    let engine = Rc::new(engine::Engine::new(settings, timer));
    loop {
        // An error here belongs to one connection, or to a passing want of descriptors.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let engine = engine.clone();
        let service = service_fn(move |request| answer::answer(engine.clone(), request));
        tokio::task::spawn_local(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

#[cfg(test)]
pub mod tests {
    use crate::load::Endpoint;

    use super::*;

    /// A simulator on a thread of its own, which ends with the test's process.
    pub fn start(settings: SimulatorSettings) -> Endpoint {
        start_on(0, settings)
    }

    /// The same on a port that is known beforehand.
    pub fn start_on(port: u16, settings: SimulatorSettings) -> Endpoint {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        listener.set_nonblocking(true).expect("non-blocking");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let serving = async { serve_on(TcpListener::from_std(listener).expect("a listener"), settings).await };
            runtime.block_on(LocalSet::new().run_until(serving)).expect("served");
        });
        Endpoint { host: "127.0.0.1".into(), port }
    }

    /// A simulator that can be killed: all its connections break off at once, and nobody listens any more.
    pub struct Mortal {
        pub endpoint: Endpoint,
        kill: tokio::sync::oneshot::Sender<()>,
        thread: std::thread::JoinHandle<()>,
    }

    impl Mortal {
        pub fn start(settings: SimulatorSettings) -> Self {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.set_nonblocking(true).expect("non-blocking");
            let port = listener.local_addr().expect("bound").port();
            let (kill, killed) = tokio::sync::oneshot::channel();
            let thread = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                let life = async {
                    let listener = TcpListener::from_std(listener).expect("a listener");
                    tokio::select! {
                        ended = serve_on(listener, settings) => ended.expect("served"),
                        _ = killed => {}
                    }
                };
                runtime.block_on(LocalSet::new().run_until(life));
            });
            Self { endpoint: Endpoint { host: "127.0.0.1".into(), port }, kill, thread }
        }

        pub fn kill(self) {
            self.kill.send(()).expect("it lives");
            self.thread.join().expect("it ended");
        }
    }
}
