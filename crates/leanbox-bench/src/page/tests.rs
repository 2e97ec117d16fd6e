//! Pages of small reports: each benchmark's section, and what others wrote is only text.

use super::{Source, html, svg};

fn source(text: &str) -> Source {
    Source::parse("report.json", text.as_bytes()).unwrap()
}

fn page(text: &str) -> String {
    html(&[source(text)]).unwrap()
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for words in words {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
}

const START: &str = r#"{"benchmark": "start", "mode": "noop", "policy": "once", "p50_us": 27,
    "floor_p50_us": 20, "classic_p50_us": 200, "sustained_per_second": 1038.4, "leaked": 0,
    "vfork": {"p50_us": 20, "p99_us": 40, "max_us": 300},
    "distribution": {"leanbox": [[0, 20], [0.5, 27], [0.99, 60], [1, 200]],
                     "floor": [[0.5, 20]], "classic": [[0.5, 200]]}}"#;

#[test]
fn start_has_its_distribution_and_its_medians() {
    let page = page(START);
    has(&page, &["Start: mode noop, policy once", "Latency distribution", "Medians"]);
    has(&page, &["1.35 × the floor, 7.4 × faster than classic", "1,038 starts per second"]);
    has(&page, &["<th scope=\"row\">99 %</th><td class=\"number\">60.0</td>", "nothing"]);
    assert!(!page.contains("99.9 %</th><td class=\"number\">0"), "what is absent is not 0");
}

#[test]
fn start_of_an_older_version_has_no_distribution() {
    let page =
        page(r#"{"mode": "exec", "policy": "reuse", "p50_us": 60, "sustained_per_second": 9}"#);
    has(
        &page,
        &["Start: mode exec, policy reuse", "Medians", "The reports do not name their machine"],
    );
    assert!(!page.contains("Latency distribution"));
    assert!(!page.contains(">p99"), "a column that no row has");
}

#[test]
fn sweep_has_throughput_and_latency_of_each_side() {
    let page = page(
        r#"{"benchmark": "sweep", "mode": "noop", "policy": "reuse", "seconds": 5, "rows": [
        {"processes": 1, "leanbox": {"rate": 15000, "p50_us": 50}, "classic": {"rate": 2600}},
        {"processes": 64, "leanbox": {"rate": 29000, "p50_us": 900}, "classic": null}]}"#,
    );
    has(&page, &["Throughput over processes: mode noop, policy reuse", "leanbox 29,000 at 64"]);
    has(&page, &["classic 2,600 at 1", ">29,000</td>", ">–</td>", "Start to outcome"]);
    assert!(!page.contains("CPUs used"), "a column that no row has");
}

#[test]
fn growth_has_latency_memory_and_the_rate_of_each_tenth() {
    let page = page(
        r#"{"benchmark": "growth", "rows": [
        {"containers": 1, "state": "idle", "p50_us": 27, "memory_kib_each": 200},
        {"containers": 1000, "state": "idle", "p50_us": 33, "memory_kib_each": 118}],
        "starts": [{"tenth": 1, "rate": 1000}, {"tenth": 10, "rate": 980}], "total_starts": 1000000}"#,
    );
    has(
        &page,
        &["with 1,000 idle containers, p50 33\u{a0}µs, 118\u{a0}KiB each", "1,000,000 starts"],
    );
    has(&page, &["Memory of each container", "differs from the first by −2.0 %"]);
}

#[test]
fn growth_of_memory_below_0_is_told_but_not_drawn() {
    let page = page(
        r#"{"benchmark": "growth", "rows": [
        {"containers": 1, "state": "live", "memory_kib_each": -75224}]}"#,
    );
    has(&page, &["−75,224.0"]);
    assert!(!page.contains("<figure>"));
}

#[test]
fn pause_has_both_ways_and_the_round() {
    let page = page(
        r#"{"benchmark": "pause", "rows": [{"processes": 1, "pause_p50_us": 38,
        "unpause_p50_us": 24, "round_p50_us": 64}]}"#,
    );
    has(&page, &["p50 with 1 process: pause 38\u{a0}µs, unpause 24\u{a0}µs, both 64\u{a0}µs"]);
}

#[test]
fn compare_has_levels_and_what_each_tool_lacks() {
    let page = page(
        r#"{"benchmark": "compare", "levels": [{"level": "full", "rows": [
        {"tool": "leanbox", "version": "0.1.0", "p50_us": 3670, "p99_us": 6000, "lacks": []},
        {"tool": "bwrap", "p50_us": 7340, "lacks": ["memory limit", "pids limit"]}]}],
        "sustained": [{"tool": "leanbox", "rate": 2000}], "burst": [{"tool": "crun", "last_us": 9000}]}"#,
    );
    has(&page, &["memory limit; pids limit", "7.34\u{a0}ms · 2.00 × (lacks some)"]);
    has(&page, &["Sustained rate", "Time to the last start of a burst"]);
}

#[test]
fn cluster_has_hosts_errors_and_the_total() {
    let page = page(
        r#"{"benchmark": "cluster", "hosts": [{"host": "a", "rate": 900},
        {"host": "b", "error": "connection refused"}], "total_rate": 900, "overlap_seconds": 9.5}"#,
    );
    has(
        &page,
        &["900 starts per second from 2 hosts, 1 host failed", "connection refused", "9.5 s"],
    );
}

#[test]
fn a_report_with_nothing_to_draw_still_has_its_table() {
    let text = r#"{"benchmark": "cluster", "hosts": [{"host": "a", "error": "down"}]}"#;
    let page = page(text);
    has(&page, &["down"]);
    assert!(!page.contains("<figure>"));
    assert!(svg(&[source(text)]).unwrap_err().to_string().contains("anything to draw"));
}

#[test]
fn what_others_wrote_is_only_text() {
    let evil = r#"</text></svg><script>alert(1)</script>\u0000\u202e&\"'"#;
    let text = format!(
        r#"{{"benchmark": "cluster", "mode": "{evil}", "machine": {{"{evil}": "{evil}"}},
        "hosts": [{{"host": "{evil}", "rate": 1, "error": "{evil}"}}]}}"#
    );
    let sources = [source(&text)];
    let page = html(&sources).unwrap();
    assert_eq!(page.matches("<script").count(), 1, "ours");
    let picture = svg(&sources).unwrap();
    assert!(!picture.contains("<script") && picture.matches("</svg>").count() == 1);
    for text in [page, picture] {
        assert!(!text.contains(['\u{0}', '\u{202e}']));
    }
}

#[test]
fn extreme_numbers_are_drawn() {
    for value in ["0", "1e-9", "1e17"] {
        let text = format!(
            r#"{{"benchmark": "sweep", "rows": [{{"processes": {value}, "leanbox": {{"rate": {value},
            "p50_us": {value}}}, "floor": {{"rate": 1}}}}]}}"#
        );
        let page = page(&text);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{value}");
    }
}

#[test]
fn the_main_chart_is_the_sweep_else_the_distribution_else_the_first() {
    let sweep = r#"{"benchmark": "sweep", "rows": [{"processes": 1, "leanbox": {"rate": 5}}]}"#;
    let pause = r#"{"benchmark": "pause", "rows": [{"processes": 1, "pause_p50_us": 5}]}"#;
    let title = |texts: &[&str]| {
        let sources: Vec<Source> = texts.iter().map(|text| source(text)).collect();
        let picture = svg(&sources).unwrap();
        picture
            .split(['>', '<'])
            .find(|text| text.len() > 9 && !text.contains('='))
            .unwrap()
            .to_string()
    };
    assert!(title(&[pause, START, sweep]).starts_with("Starts per second over processes"));
    assert!(title(&[pause, START]).starts_with("Latency of a start"));
    assert!(title(&[pause]).starts_with("Latency of pause"));
}

#[test]
fn the_policy_of_the_page_allows_its_script() {
    use sha2::Digest;
    let page = page(START);
    let script = page.split_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
    let hash = sha2::Sha256::digest(script.as_bytes());
    has(&page, &[&format!("script-src 'sha256-{}'", base64(&hash))]);
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let four = |chunk: &[u8]| {
        let number =
            (0..3).fold(0, |number, at| number << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        let digit = |at: usize| match at <= chunk.len() {
            true => char::from(DIGITS[(number >> (18 - 6 * at)) as usize & 63]),
            false => '=',
        };
        (0..4).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(four).collect()
}
