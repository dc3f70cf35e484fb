//! How a command is decided, and the one place where that meets cqrs-es.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use schemas::Timestamp;

/// All a decision may know besides the state and its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    pub now: Timestamp,
}

/// A command to `A`: pure, so a decision can be repeated, tested and asked "what if".
pub trait Decide<A: Aggregate> {
    /// No events: the state already is what the command wants, which makes a retry safe.
    fn decide(self, state: &A, ctx: &Context) -> Result<Vec<A::Event>, A::Error>;
}

/// Runs a decision for cqrs-es: the `handle` of an aggregate whose events tell all there is.
pub(crate) async fn handle<A>(
    aggregate: &mut A,
    command: A::Command,
    ctx: &Context,
    sink: &EventSink<A>,
) -> Result<(), A::Error>
where
    A: Aggregate,
    A::Command: Decide<A>,
{
    for event in command.decide(aggregate, ctx)? {
        sink.write(event, aggregate).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;
    use crate::testing::{NOW, logged_in, registered, session};
    use crate::user::{Deactivate, Error, Reactivate, User, UserCommand};

    #[test]
    fn cqrs_es_gets_the_events_of_a_decision() {
        let deactivate = Deactivate {};
        let events = vec![registered(), logged_in(session(1))];
        let user = events.iter().fold(User::default(), |mut user, event| {
            user.apply(event);
            user
        });
        let expected = deactivate.clone().decide(&user, &Context { now: NOW }).unwrap();
        TestFramework::<User>::with(Context { now: NOW })
            .given(events)
            .when(UserCommand::Deactivate(deactivate))
            .then_expect_events(expected);
    }

    #[test]
    fn cqrs_es_gets_the_error_of_a_decision() {
        TestFramework::<User>::with(Context { now: NOW })
            .given_no_previous_events()
            .when(UserCommand::Reactivate(Reactivate {}))
            .then_expect_error(Error::NotFound);
    }
}
