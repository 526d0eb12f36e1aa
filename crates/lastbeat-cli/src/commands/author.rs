//! Who gives an order, when nobody said it.

/// Who sits here, as the environment has it: the person behind `sudo` before root.
pub(super) fn author() -> Option<String> {
    author_by(|name| std::env::var(name).ok())
}

fn author_by(lookup: impl Fn(&str) -> Option<String>) -> Option<String> {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| lookup(name).filter(|user| !user.trim().is_empty()))?;
    let host = rustix::system::uname();
    Some(match host.nodename().to_str() {
        Ok(host) if !host.is_empty() => format!("{user}@{host}"),
        Ok(_) | Err(_) => user,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_author_is_the_person_behind_sudo_and_nobody_is_made_up() {
        let both = |name: &str| match name {
            "SUDO_USER" => Some("anna".to_owned()),
            "USER" => Some("root".to_owned()),
            _ => None,
        };
        assert!(author_by(both).is_some_and(|who| who.starts_with("anna@")));
        assert!(author_by(|name| (name == "LOGNAME").then(|| "ben".to_owned())).is_some());
        assert_eq!(author_by(|_| Some(" ".to_owned())), None);
    }
}
