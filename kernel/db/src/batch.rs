//! Group commit: many callers, one transaction.
//!
//! Callers hand in commands and wait. A lane takes what has gathered while it was busy, up to a limit, and
//! runs it as one batch. Under load batches grow by themselves; alone, a command waits for nobody. Commands
//! of one key always share a lane, so that lanes never wait for each other's rows.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::BoxFuture;

/// Commands that may wait in one lane before callers are slowed down.
const QUEUE: usize = 4_096;

/// The batcher has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the process is stopping")]
pub struct BatcherClosed;

/// Runs a batch and answers for each command in order.
pub type RunBatch<C, R> = Arc<dyn Fn(Vec<C>) -> BoxFuture<'static, Vec<R>> + Send + Sync>;

/// A command with the place where its caller waits for the answer.
type Waiting<C, R> = (C, oneshot::Sender<R>);

/// A handle to the lanes. They stop when the last handle is gone, after what was handed in is answered.
pub struct Batcher<C, R> {
    lanes: Arc<Vec<mpsc::Sender<Waiting<C, R>>>>,
}

impl<C, R> Clone for Batcher<C, R> {
    fn clone(&self) -> Self {
        Self {
            lanes: Arc::clone(&self.lanes),
        }
    }
}

impl<C: Send + 'static, R: Send + 'static> Batcher<C, R> {
    /// Starts the lanes. `run` gets at most `max_batch` commands at a time and answers each of them.
    pub fn start(lanes: usize, max_batch: usize, run: RunBatch<C, R>) -> Self {
        let lanes = (0..lanes.max(1))
            .map(|_| {
                let (sender, receiver) = mpsc::channel(QUEUE);
                tokio::spawn(run_lane(receiver, max_batch, Arc::clone(&run)));
                sender
            })
            .collect();
        Self {
            lanes: Arc::new(lanes),
        }
    }

    /// Hands in a command and waits for its answer. The command runs also when the caller stops waiting.
    ///
    /// # Errors
    /// When the process is stopping.
    pub async fn submit(&self, key: i64, command: C) -> Result<R, BatcherClosed> {
        // The high bits of a member's id are scattered, its low ones are not.
        let lane = (key as u64 >> 40) as usize % self.lanes.len();
        let (answer, answered) = oneshot::channel();
        self.lanes[lane]
            .send((command, answer))
            .await
            .map_err(|_| BatcherClosed)?;
        answered.await.map_err(|_| BatcherClosed)
    }
}

async fn run_lane<C, R>(mut waiting: mpsc::Receiver<Waiting<C, R>>, max_batch: usize, run: RunBatch<C, R>) {
    let mut batch = Vec::with_capacity(max_batch);
    while waiting.recv_many(&mut batch, max_batch).await > 0 {
        metrics::histogram!("huika_batch_size").record(batch.len() as f64);
        let (commands, answers): (Vec<C>, Vec<_>) = batch.drain(..).unzip();
        for (answer, result) in answers.into_iter().zip(run(commands).await) {
            // A caller that stopped waiting does not need the answer.
            let _ = answer.send(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_commands_share_a_batch_and_each_gets_its_own_answer() {
        let run: RunBatch<i64, (i64, usize)> = Arc::new(|commands| {
            Box::pin(async move {
                tokio::task::yield_now().await;
                let size = commands.len();
                commands.into_iter().map(|command| (command * 2, size)).collect()
            })
        });
        let batcher = Batcher::start(1, 100, run);
        let answers = futures::future::join_all((0..50).map(|number| batcher.submit(number, number))).await;
        for (number, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.map(|(doubled, _)| doubled), Ok(number as i64 * 2));
        }
    }
}
