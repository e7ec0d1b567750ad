//! The generated code is what `/proto` says. `UPDATE=1 cargo test -p wire --test pb_is_current`
//! writes it.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use protox::Compiler;

const FILES: [&str; 4] = [
    "common/v1/usage.proto",
    "module/v1/module_gate.proto",
    "oracle/v1/oracle_gate.proto",
    "runner/v1/runner.proto",
];

#[test]
fn the_checked_in_code_is_what_the_protos_say() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked_in = home.join("src/pb");
    let generated = generate(&home.join("../../proto"));

    if std::env::var_os("UPDATE").is_some() {
        write(&checked_in, &generated);
    }

    let found = read(&checked_in);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        generated.keys().collect::<Vec<_>>(),
        "src/pb holds other files; run with UPDATE=1"
    );
    for (name, bytes) in generated {
        assert!(found[&name] == bytes, "src/pb/{name} is not what /proto says; run with UPDATE=1");
    }
}

/// Every file that belongs in `src/pb`, by name.
fn generate(proto: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut compiler = Compiler::new([proto]).unwrap();
    compiler.include_imports(true).open_files(FILES).unwrap();
    let bare = compiler.file_descriptor_set();
    compiler.include_source_info(true);
    let commented = compiler.file_descriptor_set();

    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .compile_fds(commented)
        .unwrap();
    let mut files = read(out.path());
    files.insert("descriptors.bin".to_owned(), bare.encode_to_vec());
    files
}

fn read(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    let stale = read(folder).into_keys().filter(|name| !files.contains_key(name));
    stale.for_each(|name| fs::remove_file(folder.join(name)).unwrap());
    files.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
}

fn name(path: &Path) -> String {
    PathBuf::from(path.file_name().unwrap()).display().to_string()
}
