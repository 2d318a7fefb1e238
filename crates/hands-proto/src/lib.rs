//! Generated messages and services: REAPI v2 and hands.v1.
