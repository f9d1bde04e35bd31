//! What a source file names: paths, resolved to the crate's root where they are relative; functions; whether it is async.
//! Items under `#[cfg(test)]` do not count.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};

/// What one file names.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Paths as written or, where they begin with `self` or `super`, from `crate`.
    pub(super) paths: BTreeSet<String>,
    /// Names of functions and methods.
    pub(super) functions: BTreeSet<String>,
    /// Whether anything is async or awaits.
    pub(super) is_async: bool,
    /// The modules around the code that is being read.
    modules: Vec<String>,
}

/// Reads a file; `path` is relative to its crate, as in `src/a/b.rs`.
pub(super) fn scan(path: &str, text: &str) -> Scan {
    let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let module = path.rsplit_once("src/").map_or(path, |(_, module)| module).trim_end_matches(".rs");
    let modules = module.split('/').filter(|name| !matches!(*name, "lib" | "main")).map(str::to_owned).collect();
    let mut scan = Scan { modules, ..Scan::default() };
    scan.visit_file(&file);
    scan
}

impl Scan {
    /// The first thing that this file names and that `ban` describes: a path from its beginning (`kube::Api`), or, with
    /// `*::` before it, anywhere in a path (`*::Instant::now`).
    pub(super) fn find(&self, ban: &str) -> Option<&str> {
        let anywhere = ban.strip_prefix("*::");
        self.paths.iter().map(String::as_str).find(|path| match anywhere {
            Some(part) => format!("::{path}::").contains(&format!("::{part}::")),
            None => *path == ban || path.starts_with(&format!("{ban}::")),
        })
    }

    fn add(&mut self, segments: &[String]) {
        let above = segments.iter().take_while(|segment| *segment == "super").count();
        let relative = above > 0 || segments.first().is_some_and(|segment| segment == "self");
        let mut absolute = Vec::new();
        if relative {
            let around = self.modules.len().saturating_sub(above);
            absolute.push("crate".to_owned());
            absolute.extend(self.modules.iter().take(around).cloned());
            absolute.extend(segments.iter().filter(|segment| !matches!(segment.as_str(), "super" | "self")).cloned());
        } else {
            absolute.extend(segments.iter().cloned());
        }
        self.paths.insert(absolute.join("::"));
    }

    fn add_use(&mut self, tree: &syn::UseTree, before: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.add_use(&path.tree, before);
                before.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(tree, before)),
            syn::UseTree::Name(syn::UseName { ident }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                let own = (ident != "self").then(|| ident.to_string());
                self.add(&before.iter().cloned().chain(own).collect::<Vec<_>>());
            }
            syn::UseTree::Glob(_) => self.add(before),
        }
    }

    /// Macros are read as words: whatever looks like a path counts as one.
    fn add_tokens(&mut self, tokens: &str) {
        let joined = tokens.split("::").map(str::trim).collect::<Vec<_>>().join("::");
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for word in joined.split(|c| !is_word(c)).map(|word| word.trim_matches(':')) {
            if matches!(word, "async" | "await") {
                self.is_async = true;
            } else if !word.is_empty() {
                self.add(&word.split("::").map(str::to_owned).collect::<Vec<_>>());
            }
        }
    }
}

impl<'ast> Visit<'ast> for Scan {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Const(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !attributes.iter().any(is_test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.modules.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.modules.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_use(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    // `pub(super)` names no other part.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    // Attributes of derives are no code of ours.
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        self.add_tokens(&call.tokens.to_string());
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !item.attrs.iter().any(is_test) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.functions.insert(signature.ident.to_string());
        self.is_async |= signature.asyncness.is_some();
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, expression: &'ast syn::ExprAsync) {
        self.is_async = true;
        visit::visit_expr_async(self, expression);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.is_async = true;
        visit::visit_expr_await(self, expression);
    }
}

fn is_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
}

mod tests {
    use super::*;

    fn check(text: &str, ban: &str, found: bool) {
        let scan = scan("src/model/step.rs", text);
        assert_eq!(scan.find(ban).is_some(), found, "{ban} in {text}: {scan:?}");
    }

    #[test]
    fn a_name_is_found_wherever_it_is_written() {
        check("use kube::Api;", "kube", true);
        check("use kube::{ResourceExt, api::{Patch, Api as A}};", "kube::api", true);
        check("use kube::api::*;", "kube::api", true);
        check("fn f() { kube::Api::all(c); }", "kube::Api", true);
        check("fn f(c: &kube::Client) {}", "kube::Client", true);
        check("struct S<T: kube::Resource>(T);", "kube", true);
        check("fn f() { select! { a = kube::Api::all(c) => {} } }", "kube::Api", true);
        check("impl kube::Resource for S {}", "kube", true);
        check("mod inner { fn f() { kube::x(); } }", "kube", true);
    }

    #[test]
    fn a_name_is_not_found_where_it_is_not() {
        check("use kube_like::Api;", "kube", false);
        check("use crate::kube::Api;", "kube", false);
        check("// kube::Api\n/// kube::Api\nfn f() { let _ = \"kube\"; }", "kube::Api", false);
        check("#[cfg(test)] mod tests { use kube::Api; }", "kube", false);
        check("#[cfg(test)] use kube::Api;", "kube", false);
        check("use kube::ResourceExt;", "kube::Api", false);
    }

    #[test]
    fn relative_paths_are_resolved() {
        check("use super::super::apply;", "crate::apply", true);
        check("use super::replication::Role;", "crate::model::replication", true);
        check("use super::replication::Role;", "crate::replication", false);
        check("mod inner { use super::super::observed; }", "crate::model::observed", true);
    }

    #[test]
    fn the_clock_is_found_however_it_was_imported() {
        check("use jiff::Timestamp; fn f() { Timestamp::now(); }", "*::Timestamp::now", true);
        check("fn f() { jiff::Timestamp::now(); }", "*::Timestamp::now", true);
        check("fn f(now: jiff::Timestamp) { Timestamp::from_second(1); }", "*::Timestamp::now", false);
    }

    #[test]
    fn async_is_found_in_every_form() {
        for text in [
            "async fn f() {}",
            "fn f() { async {}; }",
            "struct S; impl S { async fn f(&self) {} }",
            "fn f() { m!(x.await) }",
        ] {
            assert!(scan("src/a.rs", text).is_async, "{text}");
        }
        assert!(!scan("src/a.rs", "fn f() {} #[cfg(test)] mod t { async fn g() {} }").is_async);
    }
}
