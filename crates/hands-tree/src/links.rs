//! Following symbolic links inside a tree as a kernel would, and never out of it.

use std::fmt;

use hands_types::RelPath;

/// Most links on one way, as in Linux.
const MOST_LINKS: usize = 40;

/// What stands at a path of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: String,
    },
    /// Something that nothing can stand below.
    Other,
}

/// Where a path really leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Real {
    /// The same directory by a path without links.
    pub path: RelPath,
    /// Whether it is there. If not, it can be made: nothing is in its way.
    pub is_there: bool,
}

/// Why a path leads to no directory of its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Astray {
    /// A link, or the path itself by `..`, leads out of the tree.
    Out {
        /// The link and its target; none for the path itself.
        link: Option<(String, String)>,
    },
    /// A link leads to nothing.
    Dangling {
        /// The link.
        link: String,
        /// Its target.
        target: String,
    },
    /// Links that lead to each other, or too many of them.
    Loop {
        /// The link at which it was given up.
        link: String,
    },
    /// Something on the way is neither a directory nor a link.
    NoDirectory {
        /// It.
        path: String,
    },
}

impl fmt::Display for Astray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |text: &str| text.escape_debug().to_string();
        match self {
            Self::Out { link: Some((link, target)) } => write!(
                f,
                "`{}` is a symbolic link to `{}`, which is outside the input root",
                plain(link),
                plain(target)
            ),
            Self::Out { link: None } => f.write_str("it leaves the input root"),
            Self::Dangling { link, target } => write!(
                f,
                "`{}` is a symbolic link to `{}`, where there is nothing",
                plain(link),
                plain(target)
            ),
            Self::Loop { link } => {
                write!(f, "`{}` is a symbolic link that leads back to itself", plain(link))
            }
            Self::NoDirectory { path } => write!(f, "`{}` is not a directory", plain(path)),
        }
    }
}

/// Follows `path` from the directory `from`, which has no links in it, to the directory that it names. `top` is the
/// absolute path of the tree's root, where links may name it: absolute targets elsewhere lead out. `look` says what
/// stands at a path below the root without following a link at its end; it is asked only below directories.
pub fn follow<E>(
    from: &RelPath,
    path: &str,
    top: Option<&str>,
    look: &mut dyn FnMut(&str) -> Result<There, E>,
) -> Result<Result<Real, Astray>, E> {
    let mut way = Way {
        here: from.names().map(str::to_owned).collect(),
        missing: None,
        todo: Vec::new(),
        links: Vec::new(),
    };
    way.push(path, None);
    while let Some((name, by)) = way.todo.pop() {
        if name == ".." {
            if way.here.pop().is_none() {
                return Ok(Err(Astray::Out { link: by.map(|by| way.links[by].clone()) }));
            }
            way.missing = way.missing.filter(|missing| *missing < way.here.len());
            continue;
        }
        way.here.push(name);
        let below = way.here.join("/");
        let found = if way.missing.is_some() { There::Nothing } else { look(&below)? };
        match found {
            There::Directory => {}
            There::Nothing => {
                if let Some(by) = by {
                    let (link, target) = way.links[by].clone();
                    return Ok(Err(Astray::Dangling { link, target }));
                }
                way.missing.get_or_insert(way.here.len() - 1);
            }
            There::Other => return Ok(Err(Astray::NoDirectory { path: below })),
            There::Symlink { target } => {
                way.here.pop();
                if way.links.len() == MOST_LINKS {
                    return Ok(Err(Astray::Loop { link: below }));
                }
                way.links.push((below, target.clone()));
                let by = way.links.len() - 1;
                let rest = match target.strip_prefix('/') {
                    None => target.as_str(),
                    Some(_) => match top.and_then(|top| below_top(&target, top)) {
                        Some(rest) => {
                            way.here.clear();
                            rest
                        }
                        None => {
                            return Ok(Err(Astray::Out { link: Some(way.links[by].clone()) }));
                        }
                    },
                };
                way.push(rest, Some(by));
            }
        }
    }
    let path = way.here.join("/");
    // Every name came from a path or a target, split at slashes, without `..`.
    let Ok(path) = RelPath::new(&path) else { return Ok(Err(Astray::NoDirectory { path })) };
    Ok(Ok(Real { path, is_there: way.missing.is_none() }))
}

struct Way {
    here: Vec<String>,
    /// How many names of `here` are there, if not all.
    missing: Option<usize>,
    /// Names that come, the next one last, each with the link that brought it.
    todo: Vec<(String, Option<usize>)>,
    /// Links that were followed, with their targets.
    links: Vec<(String, String)>,
}

impl Way {
    fn push(&mut self, path: &str, by: Option<usize>) {
        let names = path.rsplit('/').filter(|name| !matches!(*name, "" | "."));
        self.todo.extend(names.map(|name| (name.to_owned(), by)));
    }
}

/// What of an absolute path is below another one.
fn below_top<'a>(path: &'a str, top: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(top.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}
