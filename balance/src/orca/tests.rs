use super::*;

#[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn check(value: &str, expect: Result<LoadReport, OrcaError>) {
    assert_eq!(LoadReport::parse(value.as_bytes()), expect, "{value}");
}

fn example() -> LoadReport {
    LoadReport {
        cpu_utilization: Some(0.3),
        application_utilization: Some(0.8),
        mem_utilization: Some(0.9),
        rps_fractional: Some(1000.0),
        eps: Some(2.0),
        named_metrics: vec![("foo".to_owned(), 123.0)],
        utilization: vec![("x".to_owned(), 0.5)],
        request_cost: Vec::new(),
    }
}

#[test]
fn text() {
    check(
        "TEXT cpu_utilization=0.3,application_utilization=0.8,mem_utilization=0.9,rps_fractional=1000,eps=2,\
         named_metrics.foo=123,utilization.x=0.5",
        Ok(example()),
    );
    check("TEXT eps = 2e0 , rps_fractional=1.5E+2", {
        Ok(LoadReport { eps: Some(2.0), rps_fractional: Some(150.0), ..LoadReport::default() })
    });
    check("TEXT", Err(OrcaError::Empty));
    check("TEXT cpu_utilization", Err(OrcaError::Syntax));
    check("TEXT cpu_utilization=", Err(OrcaError::Syntax));
    check("TEXT cpu_utilization=.5", Err(OrcaError::Syntax));
    check("TEXT cpu_utilization=0x1", Err(OrcaError::Syntax));
    check("TEXT cpu_utilization=0.3,", Err(OrcaError::Syntax));
    check("TEXT named_metrics.=1", Err(OrcaError::Syntax));
    check("TEXT cpu=0.3", Err(OrcaError::UnknownField));
    check("TEXT other.x=0.3", Err(OrcaError::UnknownField));
    check("TEXT cpu_utilization=0.3,cpu_utilization=0.3", Err(OrcaError::Duplicate));
    check("TEXT named_metrics.a=1,named_metrics.a=2", Err(OrcaError::Duplicate));
    for value in ["NaN", "inf", "-Infinity", "-1", "1e999"] {
        check(&format!("TEXT cpu_utilization={value}"), Err(OrcaError::Range));
    }
    check("TEXT mem_utilization=1.01", Err(OrcaError::Range));
    check("YAML a: 1", Err(OrcaError::Format));
    check("", Err(OrcaError::Format));
}

#[test]
fn json() {
    check(
        r#"JSON {"cpu_utilization": 0.3, "applicationUtilization": 0.8, "mem_utilization":0.9, "rps_fractional":1e3,
           "eps":"2", "rps": 7, "named_metrics": {"f\u006fo": 123}, "utilization": {"x": 0.5}, "request_cost": {} }"#,
        Ok(example()),
    );
    check("JSON {}", Err(OrcaError::Empty));
    check("JSON", Err(OrcaError::Syntax));
    check(r#"JSON {"eps":1"#, Err(OrcaError::Syntax));
    check(r#"JSON {"eps":1} x"#, Err(OrcaError::Syntax));
    check(r#"JSON {"eps":1,}"#, Err(OrcaError::Syntax));
    check(r#"JSON {"eps":null}"#, Err(OrcaError::Syntax));
    check(r#"JSON {"eps":NaN}"#, Err(OrcaError::Range));
    check(r#"JSON {"eps":-1}"#, Err(OrcaError::Range));
    check(r#"JSON {"eps":1,"eps":1}"#, Err(OrcaError::Duplicate));
    check(r#"JSON {"cpu_utilization":1,"cpuUtilization":1}"#, Err(OrcaError::Duplicate));
    check(r#"JSON {"named_metrics":{"a":1,"a":1}}"#, Err(OrcaError::Duplicate));
    check(r#"JSON {"what":1}"#, Err(OrcaError::UnknownField));
    check(r#"JSON {"named_metrics":{"\ud800":1}}"#, Err(OrcaError::Syntax));
}

/// Field 1 of kind double, and so on, as the encoding's documentation has it.
fn encoded() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut double = |field: u8, value: f64| {
        bytes.push(field << 3 | 1);
        bytes.extend(value.to_le_bytes());
    };
    double(1, 0.3);
    double(2, 0.9);
    double(6, 1000.0);
    double(7, 2.0);
    double(9, 0.8);
    for (field, name, value) in [(8_u8, "foo", 123.0_f64), (5, "x", 0.5)] {
        let mut entry = vec![1 << 3 | 2, u8::try_from(name.len()).unwrap()];
        entry.extend(name.as_bytes());
        entry.push(2 << 3 | 1);
        entry.extend(value.to_le_bytes());
        bytes.extend([field << 3 | 2, u8::try_from(entry.len()).unwrap()]);
        bytes.extend(entry);
    }
    bytes
}

#[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn check_binary(bytes: &[u8], expect: Result<LoadReport, OrcaError>) {
    let padded = general_purpose::STANDARD.encode(bytes);
    assert_eq!(LoadReport::parse(format!("BIN {padded}").as_bytes()), expect);
    assert_eq!(LoadReport::parse_binary_header(padded.as_bytes()), expect);
    let bare = general_purpose::STANDARD_NO_PAD.encode(bytes);
    assert_eq!(LoadReport::parse_binary_header(bare.as_bytes()), expect);
}

#[test]
fn binary() {
    check_binary(&encoded(), Ok(example()));
    let mut unknown = encoded();
    unknown.extend([3 << 3, 7, 15 << 3 | 5, 0, 0, 0, 0]);
    check_binary(&unknown, Ok(example()));
    check_binary(&[], Err(OrcaError::Empty));
    check_binary(&encoded()[..5], Err(OrcaError::Syntax));
    check_binary(&[1 << 3, 0], Err(OrcaError::Syntax));
    check_binary(&[0xff; 11], Err(OrcaError::Syntax));
    check_binary(&[&encoded()[..9], &encoded()[..9]].concat(), Err(OrcaError::Duplicate));
    check_binary(&[&[1 << 3 | 1][..], &f64::NAN.to_le_bytes()].concat(), Err(OrcaError::Range));
    assert_eq!(LoadReport::parse(b"BIN ???"), Err(OrcaError::Syntax));
}

#[test]
fn bounded() {
    check(&format!("TEXT eps={}", "1".repeat(MAX_BYTES)), Err(OrcaError::TooLong));
    let many: Vec<_> = (0..129).map(|i| format!("named_metrics.m{i}=1")).collect();
    check(&format!("TEXT {}", many.join(",")), Err(OrcaError::TooLong));
}

proptest::proptest! {
    #[test]
    fn nothing_panics_and_nothing_odd_passes(value: Vec<u8>, kind in 0..4_u8) {
        let prefix: &[u8] = [&b"TEXT "[..], b"JSON ", b"BIN ", b""][usize::from(kind)];
        let value = [prefix, &value].concat();
        let _ = LoadReport::parse(&value);
        let _ = LoadReport::parse_binary_header(&value);
        let _ = binary::parse(&value);
    }
}
