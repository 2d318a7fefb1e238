//! A list that is empty as a rule, and takes one word then.

use std::ops::{Deref, DerefMut};

/// What a vector is, for rows of which there are very many.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "a vector takes three words where it is empty")]
pub(crate) struct Seldom<T>(Option<Box<Vec<T>>>);

impl<T> Seldom<T> {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    pub(crate) fn push(&mut self, value: T) {
        self.0.get_or_insert_default().push(value);
    }

    /// Takes one out; the last one takes the memory along.
    pub(crate) fn remove(&mut self, i: usize) -> T {
        let list = self.0.as_mut().expect("an empty list has nothing to take out");
        let value = list.remove(i);
        if list.is_empty() {
            self.0 = None;
        }
        value
    }
}

impl<T> Deref for Seldom<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_ref().map_or(&[], |list| list.as_slice())
    }
}

impl<T> DerefMut for Seldom<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.as_mut().map_or(&mut [], |list| list.as_mut_slice())
    }
}

impl<'a, T> IntoIterator for &'a Seldom<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut Seldom<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}
