//! A message: one event for one webhook. Its way to the receiver is in the table `messages`; what is an event, and so
//! a fact for others to count, is that it arrived.

use std::convert::Infallible;

use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};

/// A message that was delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivered {
    pub webhook_id: i64,
    /// CVAT's name of the event.
    pub event: String,
    /// Attempts that it took.
    pub attempts: i64,
}

#[derive(Clone, Debug)]
pub enum MessageCommand {
    Deliver(Delivered),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum MessageEvent {
    Delivered(Delivered),
}

/// Nothing is refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Never(pub Infallible);

impl DomainError for Never {
    fn code(&self) -> &'static str {
        match self.0 {}
    }

    fn kind(&self) -> Refused {
        match self.0 {}
    }
}

/// Whether it has arrived.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    pub delivered: bool,
}

impl Aggregate for Message {
    const KIND: &'static str = "message";
    type Command = MessageCommand;
    type Event = MessageEvent;
    type Error = Never;

    fn decide(&self, command: MessageCommand) -> Result<Vec<MessageEvent>, Never> {
        match command {
            MessageCommand::Deliver(_) if self.delivered => Ok(vec![]),
            MessageCommand::Deliver(delivered) => Ok(vec![MessageEvent::Delivered(delivered)]),
        }
    }

    fn apply(&mut self, event: &MessageEvent) {
        match event {
            MessageEvent::Delivered(_) => self.delivered = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_once() {
        let delivered = Delivered { webhook_id: 9, event: "ping".into(), attempts: 2 };
        let mut message = Message::default();
        let events = message.decide(MessageCommand::Deliver(delivered.clone())).unwrap();
        assert_eq!(events, [MessageEvent::Delivered(delivered.clone())]);
        message.apply(&events[0]);
        assert_eq!(message.decide(MessageCommand::Deliver(delivered)).unwrap(), []);
    }
}
