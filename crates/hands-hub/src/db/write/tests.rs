//! How often platforms are looked at.

use super::due_after;

#[test]
fn a_look_at_many_rows_is_paid_for_by_as_many_platforms() {
    assert_eq!(due_after(0, 100), 256);
    assert_eq!(due_after(5000, 0), 5000);
    // 250,000 rows are looked at in a third of a second.
    assert_eq!(due_after(10, 256_000), 8000);
}
