use hands_testkit::mutate::fuzz;

#[test]
fn any_tree_stays_below_its_output_or_is_an_error() {
    fuzz("trees", super::trees);
}
