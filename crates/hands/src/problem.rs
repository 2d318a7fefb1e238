//! What ends a subcommand of this crate: an error, whose it is, and the next step.

use std::error::Error;

use hands_client::ClientError;
use hands_config::ConfigError;
use hands_front::{Out, RunError, StdoutError};
#[cfg(feature = "tui")]
use hands_tui::TopError;
use hands_types::ErrorClass;
use hands_types::error::exit;

/// An error on its way to the person.
#[derive(Debug)]
pub(crate) struct Problem {
    class: ErrorClass,
    text: String,
    hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(class: ErrorClass, text: impl Into<String>) -> Self {
        Self { class, text: text.into(), hint: None }
    }

    /// From an error that knows its class; its causes are part of the text.
    pub(crate) fn of(error: &dyn Error, class: ErrorClass) -> Self {
        Self::new(class, hands_front::chain(error))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn print(&self, out: &Out) {
        out.error(&self.text);
        if let Some(hint) = &self.hint {
            out.hint(hint);
        }
        if self.class == ErrorClass::Bug {
            out.hint("this is a bug of hands; please report it together with the command and this message");
        }
    }

    pub(crate) fn exit_code(&self, passes_through: bool) -> u8 {
        if passes_through && self.class != ErrorClass::Bug {
            exit::NOT_RUN
        } else {
            self.class.exit_code()
        }
    }

    /// For a log instead of a person: one line.
    pub(crate) fn line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.text),
            None => self.text.clone(),
        }
    }

    pub(crate) fn class(&self) -> ErrorClass {
        self.class
    }
}

/// How a command ends whose answer could not be printed: in silence where nobody reads it any more.
pub(crate) fn unprinted(error: StdoutError) -> Result<u8, Problem> {
    match error {
        StdoutError::Closed => Ok(exit::SIGPIPE),
        StdoutError::Write(_) => {
            let error = RunError::from(error);
            Err(Problem::of(&error, error.class()))
        }
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        Self { hint: error.hint(), ..Self::of(&error, error.class()) }
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        Self { hint: error.hint(), ..Self::of(&error, error.class()) }
    }
}

#[cfg(feature = "tui")]
impl From<TopError> for Problem {
    fn from(error: TopError) -> Self {
        match error {
            TopError::Client(error) => error.into(),
            TopError::Terminal(_) => Self::of(&error, error.class()),
        }
    }
}

macro_rules! from_classed {
    ($($error:ty),*) => {
        $(impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                Self::of(&error, error.class())
            }
        })*
    };
}

from_classed!(
    hands_hub::HubError,
    hands_link::IdentityError,
    hands_link::LinkError,
    hands_link::PrivateError,
    hands_store::StoreError
);
#[cfg(target_os = "linux")]
from_classed!(hands_worker::WorkerError);
