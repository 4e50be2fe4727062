// A campaign file from a form: fields and limits come from the schema that `runner schema` prints. Runs nothing.
(function () {
  "use strict";
  var schema, state, form;
  // What most campaigns say; everything else is under "More".
  var FIRST = { service: ["type"], client: ["type"], benchmarks: ["num_clients", "duration", "warmup", "timeout"] };
  var LEFT_OUT = { service: ["environment"], client: ["environment"], benchmarks: ["load", "slo"] };

  window.siteSchema = function (value) { schema = value; };

  function element(name, text, className) {
    var made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }
  // What the schema says of a field; names stand between backticks there.
  function described(text) {
    var made = element("span", undefined, "note");
    text.split("`").forEach(function (part, place) { if (part) made.append(place % 2 ? element("code", part) : part); });
    return made;
  }
  function types(field) { return [].concat(field.type || []); }
  function isSimple(field) { return types(field).some(function (type) { return /^(string|number|integer|boolean)$/.test(type); }); }

  // The settings of the chosen type of a section.
  function settings(section) {
    var type = state.get(section + ".type"), found = {};
    (schema.recipe.properties[section].allOf || []).forEach(function (rule) {
      var wanted = rule.if && rule.if.properties && rule.if.properties.type;
      if (!wanted || !rule.then || !rule.then.properties || !rule.then.properties.settings) return;
      if (wanted.const === type || (wanted.enum || []).indexOf(type) >= 0) Object.assign(found, rule.then.properties.settings.properties);
    });
    return found;
  }

  function problem(field, text) {
    if (text === "") return "";
    var all = types(field), isNumber = /^-?[0-9]+(\.[0-9]+)?$/.test(text);
    if (field.enum && field.enum.indexOf(text) < 0) return "one of " + field.enum.join(", ");
    if (all.length === 1 && all[0] === "integer" && !/^-?[0-9]+$/.test(text)) return "a whole number";
    if (all.indexOf("string") < 0 && /number/.test(all.join()) && !isNumber) return "a number";
    if (isNumber && field.minimum !== undefined && Number(text) < field.minimum) return "at least " + field.minimum;
    if (isNumber && field.exclusiveMinimum !== undefined && Number(text) <= field.exclusiveMinimum) return "above " + field.exclusiveMinimum;
    if (isNumber && field.maximum !== undefined && Number(text) > field.maximum) return "at most " + field.maximum;
    try {
      if (field.pattern && all.indexOf("string") >= 0 && !new RegExp(field.pattern, "u").test(text)) return /us\|ms\|s/.test(field.pattern) ? "a duration, such as 500ms, 30s or 10m" : "not of the form " + field.pattern;
    } catch (unknown) { /* a pattern that this browser cannot read is checked by `runner check` */ }
    return "";
  }

  function input(path, name, field) {
    var row = element("div", undefined, "field"), label = element("label", name), made;
    if (field.enum || types(field).join() === "boolean") {
      made = element("select");
      [""].concat(field.enum || ["true", "false"]).forEach(function (value) {
        var option = element("option", value === "" ? "–" : String(value));
        option.value = value;
        made.append(option);
      });
    } else {
      made = element("input");
      made.type = "text";
      made.spellcheck = false;
      if (field.default !== undefined && typeof field.default !== "object") made.placeholder = String(field.default);
    }
    made.id = "field-" + path;
    label.htmlFor = made.id;
    made.value = state.get(path);
    var note = described(field.description || ""), wrong = element("span", "", "wrong");
    note.id = made.id + "-note";
    wrong.id = made.id + "-wrong";
    made.setAttribute("aria-describedby", note.id + " " + wrong.id);
    function check() {
      var text = path === "benchmarks.num_clients" && made.value.indexOf(",") >= 0 ? made.value.split(",").map(function (one) { return problem(field, one.trim()); }).filter(Boolean)[0] || "" : problem(field, made.value.trim());
      wrong.textContent = text ? "Expected " + text + "." : "";
      made.setAttribute("aria-invalid", text ? "true" : "false");
    }
    made.addEventListener("input", function () {
      state.set(path, made.value.trim());
      check();
      if (name === "type") build(made.id); else write();
    });
    check();
    row.append(label, made, note, wrong);
    return row;
  }

  function section(name) {
    var box = element("fieldset"), more = element("details"), fields = schema.recipe.properties[name].properties, first = FIRST[name] || [];
    box.append(element("legend", name));
    more.append(element("summary", "More of " + name));
    Object.keys(fields).forEach(function (key) {
      if (!isSimple(fields[key]) || (LEFT_OUT[name] || []).indexOf(key) >= 0) return;
      (first.indexOf(key) >= 0 ? box : more).append(input(name + "." + key, key, fields[key]));
    });
    var own = settings(name);
    Object.keys(own).forEach(function (key) { if (isSimple(own[key])) box.append(input(name + ".settings." + key, key, own[key])); });
    if (more.children.length > 1) box.append(more);
    return box;
  }

  function build(focus) {
    form.textContent = "";
    var head = element("fieldset");
    head.append(element("legend", "campaign"),
      input("name", "name", { type: "string", pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description: "A folder name for its results." }),
      input("title", "title", { type: "string", description: "The question that it answers." }),
      input("repetitions", "repetitions", { type: "integer", minimum: 1, description: "Of every point; three or more show how repetitions differ." }),
      input("slo.latency_p99", "SLO: p99 latency", { type: ["number", "string"], pattern: "^([0-9]+(\\.[0-9]+)?(us|ms|s|m|h))+$|^[0-9]+(\\.[0-9]+)?$", description: "The limit that a good result keeps." }),
      input("configuration.target", "target", schema.recipe.properties.configuration.properties.target));
    form.append(head, section("service"), section("client"), section("benchmarks"));
    var clients = document.getElementById("field-benchmarks.num_clients-note");
    if (clients) clients.textContent += " Several with commas make a sweep: 1, 2, 4, 8.";
    if (focus) document.getElementById(focus).focus();
    write();
  }

  // A value as YAML: plain where that cannot be read as something else.
  function scalar(text) {
    if (/^-?[0-9]+(\.[0-9]+)?$/.test(text) || /^(true|false)$/.test(text)) return text;
    if (/^[A-Za-z0-9_./-][A-Za-z0-9_./ -]*$/.test(text) && !/^(null|yes|no|on|off|~|-.*)$/i.test(text) && !/ $/.test(text)) return text;
    return JSON.stringify(text);
  }
  function put(tree, path, value) {
    var parts = path.split("."), last = parts.pop();
    parts.forEach(function (part) { tree = tree[part] = tree[part] || {}; });
    tree[last] = value;
  }
  function lines(tree, indent) {
    return Object.keys(tree).map(function (key) {
      var value = tree[key];
      if (Array.isArray(value)) return indent + key + ": [" + value.map(scalar).join(", ") + "]\n";
      if (typeof value === "object") return indent + key + ":\n" + lines(value, indent + "  ");
      return indent + key + ": " + scalar(value) + "\n";
    }).join("");
  }

  function write() {
    var campaign = { name: state.get("name") || "my-campaign" }, recipe = {}, sweep = {};
    if (state.get("title")) campaign.title = state.get("title");
    // Only what the form shows: settings of another type stay in the address, and out of the file.
    Array.from(form.elements).forEach(function (field) {
      var path = (field.id || "").replace(/^field-/, ""), value = field.value && field.value.trim();
      if (!value || !/^(configuration|service|client|benchmarks)\./.test(path)) return;
      if (path === "benchmarks.num_clients" && value.indexOf(",") >= 0) sweep[path] = value.split(",").map(function (one) { return one.trim(); }).filter(Boolean);
      else put(recipe, path, value);
    });
    campaign.recipe = recipe;
    if (Object.keys(sweep).length) campaign.sweep = sweep;
    if (state.get("repetitions")) campaign.repetitions = state.get("repetitions");
    if (state.get("slo.latency_p99")) campaign.slo = { latency_p99: state.get("slo.latency_p99") };
    var text = lines(campaign, "");
    document.getElementById("yaml").textContent = text;
    document.getElementById("save").href = "data:application/yaml;charset=utf-8," + encodeURIComponent(text);
    document.getElementById("command").textContent = "runner check campaign.yaml\nrunner plan campaign.yaml\nrunner run campaign.yaml";
    var wrong = form.querySelectorAll("[aria-invalid=true]").length, missing = ["service.type", "client.type"].filter(function (path) { return !state.get(path); });
    document.getElementById("valid").textContent = wrong ? wrong + (wrong === 1 ? " value is" : " values are") + " not right." : missing.length ? "Still to choose: " + missing.join(" and ") + "." : "Every value fits the schema.";
  }

  document.addEventListener("DOMContentLoaded", function () {
    var box = document.querySelector(".builder");
    state = window.site.state;
    form = document.getElementById("builder");
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    document.getElementById("copy-yaml").addEventListener("click", function () {
      var text = document.getElementById("yaml").textContent, button = this;
      function done() { button.textContent = "Copied"; }
      if (navigator.clipboard) return navigator.clipboard.writeText(text).then(done, select);
      select();
      function select() { getSelection().selectAllChildren(document.getElementById("yaml")); }
    });
    window.site.loadData(box.dataset.src, function (found) {
      if (!found || !schema || !schema.recipe) return void (document.getElementById("valid").textContent = "The schema cannot be read.");
      if (!state.get("service.type")) { state.set("service.type", "simulator"); state.set("client.type", "vllm_stress"); state.set("benchmarks.num_clients", "1, 2, 4, 8"); state.set("repetitions", "3"); state.set("configuration.target", "local"); }
      build();
    });
  });
})();
