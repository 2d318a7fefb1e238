use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::{days, not_after};

#[test]
fn the_end_of_a_certificate_is_found_in_both_ways_of_writing_a_time() {
    assert_eq!((days(1970, 1, 1), days(2000, 2, 29), days(2000, 3, 1)), (0, 11_016, 11_017));
    let key = KeyPair::generate().unwrap();
    for (year, month, day, expected) in
        [(2026, 2, 28, 1_772_236_800), (2049, 12, 31, 2_524_521_600), (2100, 3, 1, 4_107_542_400)]
    {
        let mut params = CertificateParams::new(vec!["a".repeat(60)]).unwrap();
        params.not_after = date_time_ymd(year, month, day);
        let certificate = params.self_signed(&key).unwrap();
        let der = certificate.der();
        assert_eq!(not_after(der), Some(expected), "{year}-{month}-{day}");
        // What ends early says nothing.
        for end in 0..100 {
            assert_eq!(not_after(&der[..end]), None);
        }
    }
}
