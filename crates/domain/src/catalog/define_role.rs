//! Define a role, or change the one that has the name.

use schemas::RoleId;
use schemas::catalog::{CatalogEvent, RoleChanged, RoleDefined};
use serde::{Deserialize, Serialize};

use super::text::{check_description, check_name};
use super::{Catalog, Error, Role, hierarchy};
use crate::decider::{Context, Decide};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefineRole {
    /// Used only if no role has the name.
    pub role_id: RoleId,
    pub name: String,
    pub description: Option<String>,
    /// Name of the role to inherit from.
    pub parent: Option<String>,
    /// Said by Rolecall itself alone. Such a role can be changed only by saying it again.
    pub is_system_role: bool,
}

impl Decide<Catalog> for DefineRole {
    fn decide(self, catalog: &Catalog, _: &Context) -> Result<Vec<CatalogEvent>, Error> {
        check_name(&self.name)?;
        check_description(self.description.as_deref())?;
        let existing = catalog.role_by_name(&self.name);
        if existing.is_some_and(|(_, role)| role.is_system_role != self.is_system_role) {
            return Err(Error::SystemRole);
        }
        let parent = self.parent.as_deref();
        let parent = parent.map(|name| catalog.role_by_name(name).ok_or(Error::NoSuchParent));
        let parent_id = parent.transpose()?.map(|(id, _)| id);
        match existing {
            Some((id, role)) => self.change(catalog, id, role, parent_id),
            None => self.define(catalog, parent_id),
        }
    }
}

impl DefineRole {
    fn define(self, catalog: &Catalog, parent_id: Option<RoleId>) -> Result<Vec<CatalogEvent>, Error> {
        if catalog.roles.contains_key(&self.role_id) {
            return Err(Error::IdInUse);
        }
        Ok(vec![CatalogEvent::RoleDefined(RoleDefined {
            role_id: self.role_id,
            name: self.name,
            description: self.description,
            parent_id,
            level: hierarchy::level_under(catalog, parent_id)?,
            is_system_role: self.is_system_role,
        })])
    }

    fn change(
        self,
        catalog: &Catalog,
        role_id: RoleId,
        role: &Role,
        parent_id: Option<RoleId>,
    ) -> Result<Vec<CatalogEvent>, Error> {
        if role.description == self.description && role.parent_id == parent_id {
            return Ok(vec![]);
        }
        hierarchy::check_acyclic(catalog, role_id, parent_id)?;
        let level = hierarchy::level_under(catalog, parent_id)?;
        Ok(vec![CatalogEvent::RoleChanged(RoleChanged {
            role_id,
            description: self.description,
            parent_id,
            level,
            descendants: hierarchy::moved_below(catalog, role_id, level)?,
        })])
    }
}

#[cfg(test)]
mod tests {
    use schemas::catalog::RoleLevel;

    use super::*;
    use crate::catalog::{DeleteRole, MAX_DEPTH};
    use crate::testing::{Given, define_role, given, role, with_system_things};

    /// a above b above c, and x by itself.
    fn tree() -> Given<Catalog> {
        given([])
            .and(define_role(1, "a", None))
            .and(define_role(2, "b", Some("a")))
            .and(define_role(3, "c", Some("b")))
            .and(define_role(4, "x", None))
    }

    #[test]
    fn a_role_stands_one_level_below_its_parent() {
        let defined = RoleDefined {
            role_id: role(9),
            name: "d".to_owned(),
            description: None,
            parent_id: Some(role(3)),
            level: 3,
            is_system_role: false,
        };
        let command = define_role(9, "d", Some("c"));
        tree().when(command).then([CatalogEvent::RoleDefined(defined)]);
    }

    #[test]
    fn the_same_definition_again_records_nothing_and_keeps_the_id() {
        tree().when(define_role(9, "b", Some("a"))).then_nothing();
    }

    #[test]
    fn a_role_that_moves_takes_those_below_along() {
        tree()
            .when(define_role(9, "b", None))
            .then([CatalogEvent::RoleChanged(RoleChanged {
                role_id: role(2),
                description: None,
                parent_id: None,
                level: 0,
                descendants: vec![RoleLevel {
                    role_id: role(3),
                    level: 1,
                }],
            })]);
        let moved = tree().and(define_role(9, "b", None));
        assert_eq!(moved.state().roles[&role(3)].level, 1);
    }

    #[test]
    fn a_new_description_moves_nobody() {
        let described = DefineRole {
            description: Some("second".to_owned()),
            ..define_role(9, "b", Some("a"))
        };
        tree()
            .when(described)
            .then([CatalogEvent::RoleChanged(RoleChanged {
                role_id: role(2),
                description: Some("second".to_owned()),
                parent_id: Some(role(1)),
                level: 1,
                descendants: vec![],
            })]);
    }

    #[test]
    fn a_name_used_again_after_deletion_names_another_role() {
        let again = tree()
            .and(DeleteRole { name: "x".to_owned() })
            .and(define_role(9, "x", None));
        assert_eq!(again.state().role_names["x"], role(9));
    }

    #[test]
    fn a_parent_must_exist() {
        tree()
            .when(define_role(9, "d", Some("nobody")))
            .then_error(Error::NoSuchParent);
        tree()
            .when(define_role(9, "a", Some("nobody")))
            .then_error(Error::NoSuchParent);
        tree()
            .when(define_role(9, "self", Some("self")))
            .then_error(Error::NoSuchParent);
    }

    #[test]
    fn no_role_comes_to_stand_below_itself() {
        for parent in ["a", "b", "c"] {
            tree()
                .when(define_role(9, "a", Some(parent)))
                .then_error(Error::Cycle);
        }
    }

    #[test]
    fn a_hierarchy_is_bounded_from_above_and_from_below() {
        let name = |level: i32| format!("r{level}");
        let chain = (1..MAX_DEPTH).fold(tree().and(define_role(100, "r0", None)), |tree, level| {
            let number = u128::try_from(100 + level).unwrap();
            tree.and(define_role(number, &name(level), Some(&name(level - 1))))
        });
        let deepest = name(MAX_DEPTH - 1);
        let catalog = chain.state().clone();
        chain
            .when(define_role(9, "d", Some(&deepest)))
            .then_error(Error::TooDeep);
        let command = define_role(9, "r0", Some("x"));
        let ctx = Context {
            now: crate::testing::NOW,
        };
        assert_eq!(command.decide(&catalog, &ctx), Err(Error::TooDeep));
    }

    #[test]
    fn names_and_descriptions_are_checked() {
        tree()
            .when(define_role(9, "a b", None))
            .then_error(Error::InvalidName);
        let described = DefineRole {
            description: Some("\0".to_owned()),
            ..define_role(9, "d", None)
        };
        tree().when(described).then_error(Error::InvalidDescription);
    }

    #[test]
    fn an_id_names_one_role() {
        tree().when(define_role(1, "d", None)).then_error(Error::IdInUse);
    }

    #[test]
    fn a_system_role_is_changed_by_rolecall_alone_and_no_role_becomes_one() {
        let change = define_role(9, "root", None);
        with_system_things().when(change).then_error(Error::SystemRole);
        let promote = DefineRole {
            is_system_role: true,
            ..define_role(9, "a", None)
        };
        tree().when(promote).then_error(Error::SystemRole);
    }
}
