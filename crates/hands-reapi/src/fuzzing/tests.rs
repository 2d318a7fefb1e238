use hands_testkit::mutate::fuzz;

#[test]
fn any_bytes_are_a_resource_name_or_an_error() {
    fuzz("resource_names", super::resource_names);
}

#[test]
fn any_bytes_expand_to_what_was_announced_or_an_error() {
    fuzz("compressed_streams", super::compressed_streams);
}

#[test]
fn any_bytes_weigh_what_they_become() {
    fuzz("message_weights", super::message_weights);
}
