//! Names that clients give their files.

use service_kit::Refusal;

/// The longest name, in characters, as CVAT has it.
const LENGTH_MAX: usize = 1024;
/// The longest part of a path, in bytes, that can be a file on any disk: whoever gets the picture back wants to save it.
const PART_MAX: usize = 255;

fn refused(name: &str) -> Refusal {
    let shown: String = name.chars().filter(|letter| !letter.is_control()).take(LENGTH_MAX).collect();
    Refusal::field("client_files", format!("File name {shown} is not allowed."))
}

/// A path below the task's own root.
///
/// # Errors
/// 400 for one that leads out of it, or that is none.
pub fn relative(name: &str) -> Result<String, Refusal> {
    let path = name.replace('\\', "/");
    let parts: Vec<&str> = path.split('/').filter(|part| *part != ".").collect();
    let fine = !parts.is_empty()
        && parts.iter().all(|part| !part.is_empty() && *part != ".." && part.len() <= PART_MAX)
        && !path.chars().any(char::is_control)
        && path.chars().count() <= LENGTH_MAX;
    if fine { Ok(parts.join("/")) } else { Err(refused(name)) }
}

/// The last part of a name in a form, which some clients send with the path that it has on their machine.
///
/// # Errors
/// 400 for one that tries to lead somewhere else, or that is none.
pub fn last_part(name: &str) -> Result<String, Refusal> {
    // How browsers and urllib3 write a quote.
    let path = name.replace('\\', "/").replace("%22", "\"");
    if path.split('/').any(|part| part == "..") {
        return Err(refused(name));
    }
    relative(path.rsplit('/').next().unwrap_or_default()).map_err(|_| refused(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_may_name_a_file_by_its_whole_path() {
        assert_eq!(last_part("/home/me/cat 1.jpg").unwrap(), "cat 1.jpg");
        assert_eq!(last_part("C:\\pictures\\cat.jpg").unwrap(), "cat.jpg");
        assert_eq!(last_part("Ünïcode.png").unwrap(), "Ünïcode.png");
        for bad in ["../cat.jpg", "a/../../etc/passwd", "", "/", "..", ".", "a\0b", "x\n.jpg"] {
            assert!(last_part(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_path_stays_below_its_root() {
        assert_eq!(relative("cats/./cat.jpg").unwrap(), "cats/cat.jpg");
        for bad in ["/cat.jpg", "cats//cat.jpg", "cats/", "../cat.jpg", "cats/../../x", "..\\x", ""] {
            assert!(relative(bad).is_err(), "{bad:?}");
        }
        assert!(relative(&"x".repeat(256)).is_err());
        assert!(relative(&"ü".repeat(128)).is_err());
        assert!(relative(&"x".repeat(255)).is_ok());
        assert!(relative(&"folder/".repeat(147)[..1028]).is_err());
    }
}
