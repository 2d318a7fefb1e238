//! Why jobs are refused.

use std::fmt;

/// Names of a cycle that a sentence shows; those between are counted.
const SHOWN: usize = 16;

/// Why jobs were not added. None of the same call was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddError {
    /// Two jobs have this name.
    Twice(String),
    /// A job waits for a name that no job has.
    NoJob {
        /// The job.
        job: String,
        /// The name.
        after: String,
    },
    /// A job takes an output that the other job does not have.
    NoOutput {
        /// The job.
        job: String,
        /// The job that it takes it from.
        of: String,
        /// The output.
        output: String,
    },
    /// Jobs that wait for each other: each name waits for the next one, and the last one is the first again.
    Cycle(Vec<String>),
    /// There are more jobs than can be numbered.
    TooMany,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |name: &str| name.escape_debug().to_string();
        match self {
            Self::Twice(name) => write!(f, "two jobs are called `{}`", plain(name)),
            Self::NoJob { job, after } => {
                write!(f, "the job `{}` waits for `{}`, which is no job", plain(job), plain(after))
            }
            Self::NoOutput { job, of, output } => write!(
                f,
                "the job `{}` takes the output `{}` of the job `{}`, which has none of that name",
                plain(job),
                plain(output),
                plain(of)
            ),
            Self::Cycle(names) => {
                f.write_str("jobs wait for each other: ")?;
                let left_out = names.len().saturating_sub(SHOWN);
                for (at, name) in names.iter().enumerate() {
                    if left_out > 1 && (SHOWN - 1..names.len() - 1).contains(&at) {
                        if at == SHOWN - 1 {
                            write!(f, " → … {left_out} more …")?;
                        }
                        continue;
                    }
                    write!(f, "{}{}", if at == 0 { "" } else { " → " }, plain(name))?;
                }
                Ok(())
            }
            Self::TooMany => f.write_str("more than 4,294,967,295 jobs"),
        }
    }
}

impl std::error::Error for AddError {}
