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
fn maps() {
    let named = |name: &str, value| vec![(name.to_owned(), value)];
    let costs = || LoadReport { request_cost: named("db", 7.0), ..LoadReport::default() };
    check("TEXT request_cost.db=7", Ok(costs()));
    check(r#"JSON {"requestCost":{"db":7}}"#, Ok(costs()));
    let entry = [&[1 << 3 | 2, 2][..], b"db", &[2 << 3 | 1], &7_f64.to_le_bytes()].concat();
    // An entry may have unknown fields too: numbers, eight bytes, a text and four bytes.
    let unknown =
        [&[3 << 3, 0x80, 1, 4 << 3 | 1][..], &[0; 8], &[5 << 3 | 2, 1, 0, 6 << 3 | 5], &[0; 4]].concat();
    for entry in [entry.clone(), [entry.clone(), unknown.clone()].concat()] {
        check_binary(&[&[4 << 3 | 2, u8::try_from(entry.len()).unwrap()][..], &entry].concat(), Ok(costs()));
    }
    check_binary(&[&encoded()[..], &unknown[3..], &unknown[..3]].concat(), Err(OrcaError::Syntax));
    check_binary(&[&encoded()[..], &[10 << 3 | 3]].concat(), Err(OrcaError::Syntax));
    // A name of 200 bytes has a length of two.
    let name = "n".repeat(200);
    let entry = [&[1 << 3 | 2, 0xc8, 1][..], name.as_bytes(), &[2 << 3 | 1], &7_f64.to_le_bytes()].concat();
    let report = LoadReport { named_metrics: named(&name, 7.0), ..LoadReport::default() };
    check_binary(&[&[8 << 3 | 2, 0xd4, 1][..], &entry].concat(), Ok(report));
    check("TEXT utilization.x=1.01", Err(OrcaError::Range));
    check(
        "TEXT named_metrics.x=1.01",
        Ok(LoadReport { named_metrics: named("x", 1.01), ..LoadReport::default() }),
    );
}

#[test]
fn numbers_and_names() {
    for text in ["1.", "+1", "1e", "1e+", "e1", "1.5.5", "- 1", "1_0", "--1", "1e2e3"] {
        check(&format!("TEXT eps={text}"), Err(OrcaError::Syntax));
        check(&format!(r#"JSON {{"eps":{text}}}"#), Err(OrcaError::Syntax));
    }
    check("TEXT eps=-0", Ok(LoadReport { eps: Some(-0.0), ..LoadReport::default() }));
    check("TEXT eps=25e-1", Ok(LoadReport { eps: Some(2.5), ..LoadReport::default() }));
    let report = LoadReport {
        named_metrics: vec![("\"\\/\u{8}\u{c}\n\r\té".to_owned(), 1.0)],
        ..LoadReport::default()
    };
    check(r#"JSON {"named_metrics":{"\"\\\/\b\f\n\r\t\u00E9":1}}"#, Ok(report));
    for name in [r"\x", r"\u00g0", r"\u00", "\n", "\u{1f}", r"\"] {
        check(&format!(r#"JSON {{"named_metrics":{{"{name}":1}}}}"#), Err(OrcaError::Syntax));
    }
}

#[test]
fn metrics_by_name() {
    let report = LoadReport {
        named_metrics: vec![("both".to_owned(), 1.0), ("a.b".to_owned(), 2.0)],
        utilization: vec![("both".to_owned(), 0.3), ("x".to_owned(), 0.4)],
        ..LoadReport::default()
    };
    for (name, expect) in [
        ("both", Some(1.0)),
        ("named_metrics.both", Some(1.0)),
        ("utilization.both", Some(0.3)),
        ("x", Some(0.4)),
        ("named_metrics.x", None),
        ("utilization.x", Some(0.4)),
        ("a.b", Some(2.0)),
        ("named_metrics.a.b", Some(2.0)),
        ("y", None),
    ] {
        assert_eq!(report.metric(name), expect, "{name}");
    }
}

#[test]
fn bounded() {
    check(&format!("TEXT eps={}", "1".repeat(MAX_BYTES)), Err(OrcaError::TooLong));
    let zeros = |count: usize| format!("TEXT eps={}", "0".repeat(count - "TEXT eps=".len()));
    check(&zeros(MAX_BYTES), Ok(LoadReport { eps: Some(0.0), ..LoadReport::default() }));
    check(&zeros(MAX_BYTES + 1), Err(OrcaError::TooLong));
    let header = general_purpose::STANDARD.encode([0; MAX_BYTES]);
    assert_eq!(LoadReport::parse_binary_header(header.as_bytes()), Err(OrcaError::TooLong));
    let some: Vec<_> = (0..128).map(|i| format!("named_metrics.m{i}=1")).collect();
    assert!(LoadReport::parse(format!("TEXT {}", some.join(",")).as_bytes()).is_ok());
    let spread = |count| {
        let each =
            (0..count).map(|i| format!("{}.m{i}=1", ["named_metrics", "utilization", "request_cost"][i % 3]));
        format!("TEXT {}", each.collect::<Vec<_>>().join(","))
    };
    assert!(LoadReport::parse(spread(128).as_bytes()).is_ok());
    check(&spread(129), Err(OrcaError::TooLong));
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
