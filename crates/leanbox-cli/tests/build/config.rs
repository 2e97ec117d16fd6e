//! ENV, WORKDIR, USER, CMD, ENTRYPOINT: in the image's configuration and in what runs.

use crate::place::{Place, app};

const CONFIG: &str = "FROM leanbox/busybox
ENV A=one B=\"two words\"
ENV C=$A/${B} D=${NOT_SET:-default} E=\\$A
WORKDIR /srv
WORKDIR $A
USER nobody
ENTRYPOINT [\"echo\", \"$A\"]
CMD [\"by\", \"default\"]
";

fn config_of(place: &Place) -> serde_json::Value {
    place.exported();
    serde_json::from_str(&place.read("out.json")).unwrap()
}

#[test]
fn they_reach_the_configuration_beside_the_export() {
    let place = app("config", CONFIG);
    place.built();
    let config = config_of(&place);
    let env: Vec<&str> = config["Env"].as_array().unwrap()[1..]
        .iter()
        .map(|entry| entry.as_str().unwrap())
        .collect();
    assert_eq!(env, ["A=one", "B=two words", "C=one/two words", "D=default", "E=$A"]);
    assert_eq!(config["WorkingDir"], "/srv/one");
    assert_eq!(config["User"], "nobody");
    assert_eq!(config["Entrypoint"], serde_json::json!(["echo", "$A"]));
    assert_eq!(config["Cmd"], serde_json::json!(["by", "default"]));
}

#[test]
fn they_hold_in_a_run_of_the_image() {
    let place = app("config-run", CONFIG);
    place.built();
    assert_eq!(place.run(&[]), "$A by default");
    assert_eq!(place.run(&["mine"]), "$A mine");
    assert_eq!(place.sh("echo $C; pwd; id -un"), "one/two words\n/srv/one\nnobody");
}

#[test]
fn they_hold_in_a_run_of_the_export() {
    let place = app("config-export", CONFIG);
    place.built();
    place.exported();
    assert_eq!(place.leanbox(&["run", "./out"]).good().out, "$A by default");
}

#[test]
fn the_shell_form_goes_through_a_shell() {
    let place = app("shell-form", "FROM leanbox/busybox\nENV A=1\nCMD echo $A; echo $((A + 1))\n");
    place.built();
    assert_eq!(place.run(&[]), "1\n2");
}

#[test]
fn the_steps_of_a_build_see_them_too() {
    let dockerfile = "FROM leanbox/busybox\nENV A=1\nWORKDIR /srv\nRUN mkdir -m 777 own\n\
        USER nobody\nRUN echo $A $(pwd) $(id -un) > own/seen\n";
    let place = app("steps-see", dockerfile);
    place.built();
    assert_eq!(place.sh("cat /srv/own/seen"), "1 /srv nobody");
}

#[test]
fn an_entrypoint_takes_the_command_of_the_base_away() {
    let place = app("entrypoint", "FROM leanbox/busybox\nCMD [\"from\", \"base\"]\n");
    place.leanbox(&["build", "app", "--name", "base"]).good();
    place.built_of("FROM base\nENTRYPOINT [\"echo\", \"own\"]\n");
    assert_eq!(place.run(&[]), "own");
}

#[test]
fn an_image_of_the_store_is_a_base() {
    let place = app("own-base", "FROM leanbox/busybox\nENV A=1\nRUN echo base > /base\n");
    place.leanbox(&["build", "app", "--name", "base"]).good();
    place.built_of("FROM base\nRUN echo $A more >> /base\n");
    assert_eq!(place.sh("cat /base"), "base\n1 more");
}

#[test]
fn two_dots_in_a_working_directory_are_taken_as_text() {
    let place = app("dots", "FROM leanbox/busybox\nWORKDIR /a/../../b\nRUN pwd > seen\n");
    place.built();
    assert_eq!(place.sh("cat /b/seen; test -e /a || echo no /a"), "/b\nno /a");
}
