//! The filter of ListOperations: a small part of the language of AIP-160, and nothing of it is ignored.

use tonic::Status;

/// Which operations are wanted; what is none does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) done: Option<bool>,
    pub(crate) instance: Option<String>,
    pub(crate) invocation: Option<String>,
}

const KNOWN: &str =
    "known are done=true, done=false, instance=\"NAME\" and invocation=\"ID\", joined by AND";

impl Filter {
    /// Reads a request's `name` and `filter`. The name of the collection is empty, `operations`, or begins with an
    /// instance's name, as BuildGrid's client has it.
    pub(crate) fn read(name: &str, filter: &str) -> Result<Self, Status> {
        let mut found = Self::default();
        let instance = match name.strip_suffix("operations") {
            Some(instance) if instance.is_empty() || instance.ends_with('/') => instance,
            Some(_) | None => name,
        };
        let instance = instance.trim_end_matches('/');
        if !instance.is_empty() {
            found.instance = Some(instance.to_owned());
        }
        let mut rest = filter.trim();
        while !rest.is_empty() {
            rest = found.term(rest)?.trim_start();
            if !rest.is_empty() {
                rest = rest
                    .strip_prefix("AND ")
                    .map(str::trim_start)
                    .filter(|next| !next.is_empty())
                    .ok_or_else(|| refuse(rest, "expected AND and another term"))?;
            }
        }
        Ok(found)
    }

    /// Takes one term; gives what follows it.
    fn term<'a>(&mut self, text: &'a str) -> Result<&'a str, Status> {
        let (field, rest) =
            text.split_once('=').ok_or_else(|| refuse(text, "expected FIELD=VALUE"))?;
        let (value, rest) = value(rest.trim_start())?;
        let field = field.trim();
        let twice = match field {
            "done" => {
                let done = match value {
                    "true" => true,
                    "false" => false,
                    other => return Err(refuse(other, "done is true or false")),
                };
                self.done.replace(done).is_some_and(|known| known != done)
            }
            "instance" => self.instance.replace(value.to_owned()).is_some_and(|k| k != value),
            "invocation" => self.invocation.replace(value.to_owned()).is_some_and(|k| k != value),
            other => return Err(refuse(other, "this field can't be filtered by")),
        };
        if twice {
            return Err(refuse(field, "two values for one field fit no operation"));
        }
        Ok(rest)
    }

    /// Whether an operation that has not ended is wanted.
    pub(crate) fn fits_active(&self, instance: &str, invocation: &str) -> bool {
        self.done != Some(true)
            && self.instance.as_deref().is_none_or(|wanted| wanted == instance)
            && self.invocation.as_deref().is_none_or(|wanted| wanted == invocation)
    }
}

/// A value, in quotation marks or up to the next space; and what follows it.
fn value(text: &str) -> Result<(&str, &str), Status> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"').ok_or_else(|| refuse(text, "the quotation has no end"));
    }
    let end = text.find(' ').unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    if value.is_empty() {
        return Err(refuse(text, "expected a value"));
    }
    Ok((value, rest))
}

fn refuse(at: &str, why: &str) -> Status {
    let at: String = at.chars().take(100).collect();
    Status::invalid_argument(format!("the filter can't be used at {at:?}: {why}; {KNOWN}"))
}
