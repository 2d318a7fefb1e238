//! A hub that was away itself.

use super::check;

#[test]
fn a_hub_that_was_away_takes_nobody_s_lease_for_that() {
    check(
        "0 open s11
         0 open s21
         0 submit o1
         0 submit o2 once
         1 started s11 o1#1
         1 started s21 o2#1
         1 close s21
         60 late 58
         61 beat s11
         66 done s11 o1#1
         69 tick
         70 tick",
        "0 lease s11 o1#1
         0 lease s21 o2#1
         66 accept s11 o1#1
         70 fail o2: attempt 1 was lost with its worker and may have had effects outside, so it is not run again; `--retry N` allows that",
    );
}

#[test]
fn a_hub_that_was_away_soon_after_its_start_still_waits_for_its_workers() {
    check(
        "0 restore o1 held=w1#1
         20 late 19
         28 open s11 holds=o1#1
         29 done s11 o1#1",
        "28 adopted s11 o1#1
         29 accept s11 o1#1",
    );
}

#[test]
fn a_hub_that_is_away_again_and_again_misses_a_worker_all_the_same() {
    check(
        "0 open s11
         0 submit o1
         1 close s11
         4 late 2
         7 late 2
         10 late 2
         13 late 2
         17 tick
         18 tick",
        "0 lease s11 o1#1
         18 requeued o1#1 expired
         18 o1 waiting: no worker is connected",
    );
}

#[test]
fn while_the_hub_was_away_nobody_could_come() {
    check(
        "0 submit o1 patience=30
         50 late 45
         79 open s11
         80 done s11 o1#1",
        "0 o1 waiting: no worker is connected
         79 lease s11 o1#1
         80 accept s11 o1#1",
    );
}

#[test]
fn a_hub_that_is_away_again_and_again_gives_up_what_nobody_takes_all_the_same() {
    check(
        "0 submit o1 patience=30
         10 late 2
         20 late 2
         30 late 2
         35 tick
         36 tick",
        "0 o1 waiting: no worker is connected
         36 fail o1: no worker is connected",
    );
}
