//! Answers beside their description.

use serde_json::Value;

/// Whether a value is what a schema says: its type, and in objects exactly the properties that are described.
pub fn conforms(all: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = all.pointer(name.strip_prefix('#').unwrap()).unwrap();
        return conforms(all, schema, value, name);
    }
    if let Some(several) = schema["oneOf"].as_array() {
        let fitting = several.iter().find(|schema| (schema["type"] == "null") == value.is_null());
        return conforms(all, fitting.unwrap_or_else(|| panic!("{at}: {value}")), value, at);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|known| known == kind),
        known => known == kind,
    };
    assert!(is_kind, "{at}: {value} is not {schema}");
    for item in value.as_array().into_iter().flatten() {
        conforms(all, &schema["items"], item, at);
    }
    if let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(fields.contains_key(name.as_str().unwrap()), "{at}: {name} is missing");
        }
        for (name, field) in fields {
            let schema = properties.get(name).unwrap_or_else(|| panic!("{at}: {name} is not described"));
            conforms(all, schema, field, &format!("{at}.{name}"));
        }
    }
}
