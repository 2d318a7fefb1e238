//! Words of which a person or a platform chooses one. Each is read here and nowhere else: flags, files, batches,
//! platform properties and what a worker tells of itself mean the same by it.

use std::fmt;
use std::str::FromStr;

/// One of a few words.
pub trait Word: Copy + PartialEq + Sized + 'static {
    /// All of them, in the order in which they are told.
    const ALL: &'static [Self];
    /// The words themselves, in the same order.
    const NAMES: &'static [&'static str];

    /// The word.
    fn name(self) -> &'static str;

    /// Reads the word: nothing where it is none of them.
    fn read(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|word| word.name() == text)
    }
}

/// Text that is none of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord(&'static [&'static str]);

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("must not be given"),
            [only] => write!(f, "must be {only}"),
            [others @ .., last] => write!(f, "must be {} or {last}", others.join(", ")),
        }
    }
}

impl std::error::Error for UnknownWord {}

macro_rules! word {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$each])* $variant,)+
        }

        impl $name {
            /// The word, as it is written everywhere.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl Word for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];
            const NAMES: &'static [&'static str] = &[$($text,)+];

            fn name(self) -> &'static str {
                Self::name(self)
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::read(text).ok_or(UnknownWord(Self::NAMES))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

word! {
    /// What an action can reach over the network.
    Network {
        /// Nothing: even the loopback is down.
        None = "none",
        /// A private loopback that is up, and nothing else.
        Loopback = "loopback",
        /// The network of the worker's machine.
        Host = "host",
    }
}

word! {
    /// What an action may do beyond the ordinary.
    Privilege {
        /// It may create user namespaces and, in these, all other namespaces and mounts: what programs need that build
        /// sandboxes of their own.
        Userns = "userns",
    }
}

word! {
    /// How much an action is kept apart from the machine. Ordered: the first is the strongest.
    Isolation {
        /// User, pid, mount, network, ipc, uts and cgroup namespaces, landlock, seccomp.
        Full = "full",
        /// All of `Full` but the network namespace: every action has the machine's network.
        NoNetns = "no-netns",
        /// No namespaces and no mounts: a fresh directory with copied inputs, landlock where there is one, seccomp,
        /// limits. For machines that forbid the rest, such as an ordinary container.
        Process = "process",
    }
}

word! {
    /// Where what an action writes is kept.
    Scratch {
        /// In memory.
        Memory = "memory",
        /// On the worker's disk.
        Disk = "disk",
    }
}

word! {
    /// How the input root is made.
    InputRoot {
        /// An overlay over the staged trees: nothing is copied. An input *directory* can't be renamed there.
        Overlay = "overlay",
        /// A copy of the staged trees.
        Copy = "copy",
    }
}
