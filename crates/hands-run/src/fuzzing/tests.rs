use hands_testkit::mutate::fuzz;

#[test]
fn any_line_is_a_command_or_an_error() {
    fuzz("json_lines", super::json_lines);
}
