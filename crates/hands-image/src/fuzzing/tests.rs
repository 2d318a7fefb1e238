use hands_testkit::mutate::fuzz;

#[test]
fn any_bytes_are_layers_or_an_error() {
    fuzz("layers", super::layers);
}
