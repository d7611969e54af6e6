//! The order in which the API server stores the items of a map-type list. Pure.

/// Sorts the items of a map-type list into the order in which the API server stores them: items of the live list
/// (`before`) keep their order, whatever order is sent, and new items come last. Any other order would differ at every
/// comparison.
#[must_use]
pub fn in_order_kept<T>(mut list: Vec<T>, before: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    list.sort_by_key(|item| before.iter().position(|known| same(known, item)).unwrap_or(usize::MAX));
    list
}
