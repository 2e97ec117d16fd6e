//! `leanbox bench report`: the page and the picture of invented reports (`tests/report`), and of
//! files that are none.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Done, Place, place};
use std::fs;
use std::path::Path;

const KINDS: [&str; 6] = ["start", "sweep", "growth", "pause", "compare", "cluster"];

fn sample(kind: &str) -> String {
    format!("{}/tests/report/{kind}.json", env!("CARGO_MANIFEST_DIR"))
}

fn report(place: &Place, words: &[&str]) -> Done {
    Done::of(place.leanbox(&[&["bench", "report"], words].concat()).output().unwrap())
}

/// Puts a file into the place.
fn file(place: &Place, name: &str, text: &str) {
    fs::write(place.0.join(name), text).unwrap();
}

fn read(place: &Place, name: &str) -> String {
    fs::read_to_string(place.0.join(name)).unwrap()
}

/// The names in the place beside its root.
fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(&place.0).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "root").collect();
    names.sort();
    names
}

/// A page and a picture of all samples.
fn made(name: &str) -> (Place, String, String) {
    let place = place(name);
    let files = KINDS.map(sample);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let done = report(&place, &[&files[..], &["--html", "out.html", "--svg", "out.svg"]].concat());
    done.said("wrote out.html\nwrote out.svg");
    let (page, picture) = (read(&place, "out.html"), read(&place, "out.svg"));
    (place, page, picture)
}

#[test]
fn every_report_has_its_section_charts_and_tables() {
    let (_place, page, _) = made("report-all");
    let headings = [
        "Start: mode noop, policy once",
        "Throughput over processes: mode noop, policy reuse",
        "Growth: mode noop, policy once",
        "Pause and unpause: policy once",
        "Compared with other tools",
        "Many hosts: mode noop, policy reuse",
    ];
    for (index, heading) in headings.iter().enumerate() {
        let begin = format!("<section id=\"s{}\"><h2>{heading}</h2>", index + 1);
        let section = page.split_once(&begin).expect(heading).1.split_once("</section>").unwrap().0;
        for words in ["<svg ", "<title ", "<desc ", "<table>", "teardown"] {
            assert!(section.contains(words), "{words:?} is not in {heading}");
        }
        assert!(page.contains(&format!("<a href=\"#s{}\">{heading}</a>", index + 1)), "{heading}");
    }
    for words in
        ["6.18.0-sample", "AMD EPYC", "hybrid", "31 % of the CPUs", "noisy during start.json"]
    {
        assert!(page.contains(words), "{words:?}");
    }
}

#[test]
fn the_page_and_the_picture_load_nothing() {
    let (_place, page, picture) = made("report-alone");
    for words in ["http:", "https:", "src=", "url(", "@import", "<link", "<img", "<iframe"] {
        assert!(!page.contains(words), "{words:?} is in the page");
    }
    assert!(page.split("href=\"").skip(1).all(|rest| rest.starts_with('#')));
    assert!(page.contains("default-src 'none'"));
    // the name of a namespace is no reference
    let picture = picture.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for words in ["http:", "https:", "href", "url(", "@import", "<script"] {
        assert!(!picture.contains(words), "{words:?} is in the picture");
    }
}

#[test]
fn every_element_is_closed_and_every_id_is_one() {
    let (_place, page, picture) = made("report-elements");
    for element in ["section", "article", "figure", "svg", "table", "tr", "td", "th", "dl", "div"] {
        let opened = page.matches(&format!("<{element}>")).count()
            + page.matches(&format!("<{element} ")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
    }
    assert!(picture.starts_with("<svg xmlns=") && picture.ends_with("</svg>\n"));
    let ids = page.split(" id=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0);
    let mut ids: Vec<&str> = ids.collect();
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn the_report_of_a_real_start_is_taken() {
    let place = place("report-real");
    let words = ["bench", "start", "--seconds", "0.2", "--json"];
    let start = Done::of(place.leanbox(&words).output().unwrap());
    assert_eq!(start.code, 0, "{start:?}");
    file(&place, "start.json", &start.out);
    report(&place, &["start.json", "--html", "out.html"]).said("wrote out.html");
    let page = read(&place, "out.html");
    assert!(page.contains("Start: mode noop, policy once") && page.contains("<figure>"));
}

#[test]
fn a_file_that_is_no_report_is_one_line_that_names_it() {
    let place = place("report-bad");
    let cases = [
        ("", "bad.json: the file is empty"),
        ("not json", "bad.json: not JSON: expected"),
        ("{\"benchmark\": \"sweep\", ", "bad.json: not JSON: EOF"),
        ("[]", "bad.json: not a report of leanbox bench"),
        ("{\"name\": \"leanbox\"}", "bad.json: not a report of leanbox bench"),
        ("{\"benchmark\": \"fly\"}", "bad.json: unknown benchmark \"fly\"; known are start, sweep"),
        ("{\"benchmark\": \"start\", \"mode\": \"noop\"}", "bad.json: missing field `policy`"),
        ("{\"benchmark\": \"sweep\", \"rows\": []}", "bad.json: rows: no rows"),
        (
            "{\"benchmark\": \"compare\", \"levels\": [{\"level\": \"full\", \"rows\": [{\"tool\": 7}]}]}",
            "bad.json: levels[0].rows[0].tool: invalid type: integer `7`",
        ),
    ];
    for (text, words) in cases {
        file(&place, "bad.json", text);
        report(&place, &["bad.json", &sample("start"), "--html", "out.html"]).failed(1, words);
        assert_eq!(names(&place), ["bad.json"]);
    }
}

#[test]
fn several_bad_files_are_a_line_each_and_what_was_there_stays() {
    let place = place("report-several");
    file(&place, "a.json", "");
    file(&place, "out.html", "before");
    let done =
        report(&place, &["a.json", &sample("pause"), "none.json", ".", "--html", "out.html"]);
    assert_eq!(done.code, 1);
    let lines: Vec<&str> = done.err.lines().collect();
    assert_eq!(lines.len(), 3, "{done:?}");
    for (line, begin) in lines.iter().zip(["a.json: the", "none.json: ENOENT", ".: EISDIR"]) {
        assert!(line.starts_with(&format!("leanbox: {begin}")), "{line}");
    }
    assert_eq!(read(&place, "out.html"), "before");
}

#[test]
fn an_endless_file_is_not_read_to_its_end() {
    let place = place("report-endless");
    report(&place, &["/dev/zero", "--html", "out.html"]).failed(1, "/dev/zero: larger than");
}

#[test]
fn a_file_that_is_there_is_replaced_also_through_a_link() {
    let place = place("report-replace");
    file(&place, "page.html", "before");
    std::os::unix::fs::symlink("page.html", place.0.join("link.html")).unwrap();
    report(&place, &[&sample("pause"), "--html", "link.html"]).said("wrote link.html");
    assert!(read(&place, "page.html").starts_with("<!DOCTYPE html>"));
    assert!(fs::symlink_metadata(place.0.join("link.html")).unwrap().is_symlink());
    assert_eq!(names(&place), ["link.html", "page.html"]);
}

#[test]
fn what_cannot_be_written_is_one_line_and_leaves_nothing() {
    let place = place("report-unwritable");
    let pause = sample("pause");
    let fails = |words: &[&str], text: &str| {
        report(&place, &[&[pause.as_str()], words].concat()).failed(1, text);
        assert!(names(&place).is_empty(), "{:?}", names(&place));
    };
    fails(&["--html", "none/out.html"], "none/out.html: ENOENT");
    fails(&["--html", "root"], "root: there, but not a file");
    fails(&["--html", "/dev/null"], "/dev/null: there, but not a file");
    fails(&["--html", "out.html", "--svg", "none/out.svg"], "none/out.svg: ENOENT");
    fails(&["--html", "out.html", "--svg", "out.html"], "named twice");
    assert!(Path::new("/dev/null").exists());
}

#[test]
fn a_report_is_not_written_over_its_own_input() {
    let place = place("report-own");
    let text = fs::read_to_string(sample("pause")).unwrap();
    file(&place, "pause.json", &text);
    report(&place, &["pause.json", "--html", "./pause.json"]).failed(1, "named twice");
    assert_eq!(read(&place, "pause.json"), text);
}

#[test]
fn words_that_are_missing_are_one_line_and_2() {
    let place = place("report-words");
    report(&place, &["--html", "out.html"]).failed(2, "FILE.json");
    report(&place, &["a.json"]).failed(2, "--html");
}
