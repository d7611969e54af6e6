//! What is generated from the code is as the code says: the custom resource definitions, plain in `crds/` and as
//! templates in the chart. `UPDATE_GENERATED=1` (`make generate`) writes them instead.

use std::{fs, path::PathBuf};

use linktree_operator::api::crds;

use super::{assert_none, root};

const CHART: &str = "charts/linktree-webhook-operator/templates/crds";

/// A definition as a chart template: installed or not, and kept on uninstall, as the values say.
fn template(yaml: &str) -> String {
    // Text that looks like a template's action must come out as it is.
    let literal = yaml.replace("{{", "{{ \"{{\" }}");
    let keep =
        "metadata:\n  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n";
    format!("{{{{- if .Values.crds.install }}}}\n{}{{{{- end }}}}\n", literal.replacen("metadata:\n", keep, 1))
}

/// Each generated file and what it must hold.
fn wanted() -> Vec<(PathBuf, String)> {
    let files = crds().into_iter().flat_map(|crd| {
        let yaml = serde_yaml_ng::to_string(&crd).expect("a definition is YAML");
        let name = format!("{}.yaml", crd.spec.names.plural);
        [(PathBuf::from("crds").join(&name), yaml.clone()), (PathBuf::from(CHART).join(&name), template(&yaml))]
    });
    files.collect()
}

fn stale(path: &PathBuf, text: &str) -> Option<String> {
    let found = fs::read_to_string(root().join(path)).unwrap_or_default();
    (found != text).then(|| format!("{} is not what the code generates: make generate", path.display()))
}

#[test]
fn a_template_keeps_braces_and_asks_the_values() {
    let made = template("kind: X\nmetadata:\n  name: x\nspec:\n  doc: 'say {{this}}'\n");
    assert!(made.starts_with("{{- if .Values.crds.install }}\nkind: X\nmetadata:\n  {{- if .Values.crds.keep }}\n"));
    assert!(made.contains("{{- end }}\n  name: x\n") && made.contains("say {{ \"{{\" }}this}}"), "{made}");
    assert!(stale(&PathBuf::from("Cargo.toml"), "").is_some());
}

#[test]
fn generated_files_are_up_to_date() {
    let files = wanted();
    assert!(!files.is_empty());
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        for (path, text) in &files {
            let path = root().join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("the directory can be made");
            fs::write(path, text).expect("the file can be written");
        }
    }
    assert_none(&files.iter().filter_map(|(path, text)| stale(path, text)).collect::<Vec<_>>());
    for directory in ["crds", CHART] {
        let names = fs::read_dir(root().join(directory)).expect("the directory is there");
        let names =
            names.map(|entry| PathBuf::from(directory).join(entry.expect("its entries can be read").file_name()));
        let left = names.filter(|name| files.iter().all(|(path, _)| path != name));
        assert_none(
            &left.map(|name| format!("{} is generated no more: remove it", name.display())).collect::<Vec<_>>(),
        );
    }
}
