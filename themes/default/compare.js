// Compares two benchmarks, or two executions of campaigns, from data scripts of the site. The choice is in the address.
(function () {
  "use strict";
  var state, parts = Object.create(null), form, answer, to, toSite;
  var MOST_OFFERED = 50;

  window.siteCompare = function (key, value) { parts[key] = value; };

  function element(name, text, className) {
    var made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }
  function append(parent) {
    for (var i = 1; i < arguments.length; i++) parent.append(arguments[i]);
    return parent;
  }
  function link(text, href) {
    var made = element("a", text);
    window.site.placeOf(window.site.versionShown(), href, function (place) { if (place) made.href = toSite + place; });
    return made;
  }
  function table(columns, rows) {
    var made = element("table"), head = made.createTHead().insertRow(), body = made.createTBody();
    columns.forEach(function (column) {
      var cell = element("th", column[0], column[1] ? "number" : "");
      cell.scope = "col";
      head.append(cell);
    });
    rows.forEach(function (row) {
      var line = body.insertRow();
      row.forEach(function (value, i) {
        var cell = line.insertCell(), text = value && value.text !== undefined ? value.text : value;
        cell.textContent = text;
        cell.className = (columns[i][1] ? "number " : "") + (value && value.class ? value.class : "") + (String(text).length > 48 ? " long" : "");
      });
    });
    var box = element("div", undefined, "scroll");
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Table");
    box.append(made);
    return box;
  }

  function median(values) {
    var sorted = values.slice().sort(function (a, b) { return a - b; }), middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }
  function shown(value, unit) {
    if (value === null || value === undefined) return "–";
    if (unit === "s") {
      var size = Math.abs(value);
      return size >= 1 ? window.site.significant(value) + " s" : size >= 0.001 ? window.site.significant(value * 1e3) + " ms" : window.site.significant(value * 1e6) + " µs";
    }
    return window.site.significant(value) + (unit ? (unit === "/s" ? "/s" : " " + unit) : "");
  }
  function signed(value, unit) {
    var text = Math.abs(value) < 9.95 ? Math.abs(value).toFixed(1) : Math.abs(value).toFixed(0);
    if (!/[1-9]/.test(text)) return "0" + unit;
    return (value < 0 ? "−" : "+") + text + unit;
  }
  // Percent of the base; percentage points of a rate in percent, requests of failures.
  function change(name, unit, base, candidate, moreIsWorse) {
    var points = unit === "%" || name === "failed requests";
    var by = points ? candidate - base : base ? (candidate / base - 1) * 100 : NaN;
    if (!isFinite(by)) return { text: "–", by: 0 };
    var text = signed(by, points ? (unit === "%" ? " points" : "") : " %");
    var word = text.charAt(0) === "0" ? "" : (by > 0) === moreIsWorse ? " worse" : " better";
    return { text: text + word, by: by, class: word === " worse" ? "bad" : word === " better" ? "good" : "" };
  }

  function facts(a, b) {
    var names = Object.keys(a.facts).concat(Object.keys(b.facts).filter(function (name) { return !(name in a.facts); }));
    var rows = [];
    names.forEach(function (name) {
      var base = a.facts[name], candidate = b.facts[name];
      if (base && candidate && base[0] === candidate[0]) return;
      var bars = (base && base[1]) || (candidate && candidate[1]);
      rows.push([name, base ? base[0] : "–", candidate ? candidate[0] : "–", bars ? { text: "bars a verdict", class: "bad" } : ""]);
    });
    rows.sort(function (x, y) { return (y[3] ? 1 : 0) - (x[3] ? 1 : 0); });
    return rows;
  }

  function heading(text) { return element("h2", text); }
  function side(word, one) {
    var line = element("p");
    append(line, word + ": ", link(one.id, one.page), " · " + one.title + " · ended " + one.ended + " UTC · " + one.standing + (one.reason ? ": " + one.reason : ""));
    return line;
  }

  // A chart from the compared data, with its table; drawn by the site's own script.
  function chart(id, title, finding, option, twin) {
    var figure = element("figure", undefined, "chart"), caption = element("figcaption"), canvas = element("div", undefined, "canvas");
    figure.id = id;
    append(caption, element("h3", title), element("p", finding));
    canvas.dataset.height = "320";
    canvas.style.height = "320px";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title + ". " + finding);
    var details = element("details", undefined, "twin");
    append(details, element("summary", "Table of " + title), twin);
    append(figure, caption, canvas, details);
    answer.append(figure);
    var made = new window.site.Chart(figure);
    window.site.drawn.push(made);
    made.show(option);
  }
  function option(xAxis, yName, isLog, series) {
    return {
      animation: false, legend: { top: 4, left: 56, data: series.map(function (one) { return one.name; }), type: "scroll" },
      tooltip: { trigger: "axis", formatter: "@tooltip", renderMode: "richText", confine: true },
      grid: [{ left: 76, right: 28, top: 44, height: 220 }],
      xAxis: [Object.assign({ gridIndex: 0, nameLocation: "middle", nameGap: 30 }, xAxis)],
      yAxis: [{ gridIndex: 0, type: isLog ? "log" : "value", min: isLog ? undefined : 0, name: yName, nameLocation: "middle", nameGap: 58, axisLabel: { formatter: "@number" } }],
      series: series
    };
  }
  function line(name, color, data, symbol) {
    return { type: "line", name: name, data: data, symbol: symbol, symbolSize: 7, lineStyle: { color: color, width: 2 }, itemStyle: { color: color }, xAxisIndex: 0, yAxisIndex: 0 };
  }

  function compareBenchmarks(a, b) {
    var rows = [];
    (a.figures || []).forEach(function (base) {
      var candidate = (b.figures || []).filter(function (one) { return one[0] === base[0]; })[0];
      var unsure = !base[4] || (candidate && !candidate[4]);
      var by = candidate ? change(base[0], base[1], base[2], candidate[2], base[3]) : { text: "only in A" };
      rows.push([base[0] + (unsure ? " (not supported by the sample)" : ""), shown(base[2], base[1]), candidate ? shown(candidate[2], candidate[1]) : "–", unsure ? by.text : by]);
    });
    (b.figures || []).forEach(function (candidate) {
      if (!(a.figures || []).some(function (one) { return one[0] === candidate[0]; })) rows.push([candidate[0], "–", shown(candidate[2], candidate[1]), "only in B"]);
    });
    var find = function (name) { return rows.filter(function (row) { return row[0].indexOf(name) === 0; })[0]; };
    var p99 = find("p99 latency"), rate = find("throughput");
    var text = [p99 && "p99 latency " + (p99[3].text || p99[3]), rate && "throughput " + (rate[3].text || rate[3])].filter(Boolean).join("; ");
    answer.append(element("p", text ? text + ", from A to B." : "One of the two has no figures.", "lead"));
    answer.append(element("p", "n = 1 on each side: how much two such benchmarks differ by themselves cannot be seen here, so there is no verdict."));
    var command = element("pre", "runner compare " + a.id + " " + b.id, "command");
    answer.append(element("p", "With all repetitions, intervals and a verdict:"), command);
    append(answer, side("A", a), side("B", b), heading("Figures"), table([["figure"], ["A", 1], ["B", 1], ["B against A", 1]], rows));
    if (a.curve && b.curve) {
      var most = Math.max(a.curve[a.curve.length - 1][1], b.curve[b.curve.length - 1][1]);
      var unit = most >= 10 ? ["s", 1] : most >= 0.001 ? ["ms", 1e3] : ["µs", 1e6];
      var scaled = function (curve) { return curve.map(function (point) { return [point[0], point[1] * unit[1]]; }); };
      var twin = [["A", a], ["B", b]].reduce(function (all, one) {
        return all.concat(scaled(one[1].curve).map(function (point) { return [one[0], window.site.percentile(point[0]), window.site.significant(point[1])]; }));
      }, []);
      chart("distribution", "Latency by percentile", "Each curve ends at the last percentile with ten requests beyond it.",
        option({ type: "log", logBase: 10, min: 1, name: "percentile", axisLabel: { formatter: "@percentile" } }, "latency, " + unit[0], false,
          [line("A", "$c1", scaled(a.curve), "none"), line("B", "$c2", scaled(b.curve), "none")]),
        table([["side"], ["percentile"], ["latency, " + unit[0], 1]], twin));
    }
  }

  function compareExecutions(a, b) {
    var rows = [], labels = [], series = { A: [], B: [] };
    function range(values) { return values.length > 1 ? " (" + shown(Math.min.apply(null, values), "") + "–" + shown(Math.max.apply(null, values), "") + ")" : ""; }
    a.points.forEach(function (point) {
      var other = b.points.filter(function (one) { return one.label === point.label; })[0];
      if (!other) return;
      point.figures.forEach(function (base) {
        var candidate = other.figures.filter(function (one) { return one[0] === base[0]; })[0];
        if (!candidate) return;
        var x = median(base[2]), y = median(candidate[2]);
        var factor = base[1] === "s" ? 1e3 : 1, unit = base[1] === "s" ? "ms" : base[1];
        var scale = function (values) { return values.map(function (value) { return value * factor; }); };
        rows.push([point.label, base[0], shown(x, base[1]) + range(scale(base[2])), shown(y, candidate[1]) + range(scale(candidate[2])), base[2].length + " / " + candidate[2].length, change(base[0], base[1], x, y, base[3])]);
        if (base[0] === "throughput") {
          labels.push(point.label);
          series.A.push([labels.length - 1, x]);
          series.B.push([labels.length - 1, y]);
        }
        return unit;
      });
    });
    if (!rows.length) answer.append(element("p", "The two executions have no point in common with figures on both sides.", "lead"));
    else {
      var largest = rows.reduce(function (best, row) { return Math.abs(row[5].by) > Math.abs(best[5].by) ? row : best; });
      answer.append(element("p", "Largest difference of medians: " + largest[1] + " " + largest[5].text + " at " + largest[0] + ".", "lead"));
    }
    answer.append(element("p", "Medians of the repetitions, and their range in brackets (of latencies in ms). Whether a difference is more than chance is not told here:"));
    answer.append(element("pre", "runner compare " + a.id + " " + b.id, "command"));
    [[a, b], [b, a]].forEach(function (pair) {
      if (pair[1].diff && pair[1].diff.base === pair[0].id) append(answer, append(element("p"), "The verdict for these two stands in the ", link("regression diff", pair[1].diff.page), "."));
    });
    append(answer, side("A", a), side("B", b));
    if (labels.length > 1) {
      chart("throughput", "Throughput", "Medians of the repetitions at the points that both have.",
        option({ type: "category", data: labels, name: "point" }, "requests/s", false, [line("A", "$c1", series.A, "circle"), line("B", "$c2", series.B, "triangle")]),
        table([["point"], ["A", 1], ["B", 1]], labels.map(function (label, i) { return [label, window.site.significant(series.A[i][1]), window.site.significant(series.B[i][1])]; })));
    }
    if (rows.length) append(answer, heading("Figures"), table([["point"], ["figure"], ["A", 1], ["B", 1], ["n", 0], ["B against A", 1]], rows));
  }

  function show() {
    window.site.drawn.splice(0).forEach(function (one) { if (one.view) one.view.dispose(); });
    answer.textContent = "";
    var keys = [state.get("a"), state.get("b")];
    form.a.value = nameOf(keys[0]);
    form.b.value = nameOf(keys[1]);
    if (!keys[0] || !keys[1]) return;
    if (!keys.every(function (key) { return /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(key); })) return void answer.append(element("p", "The address names no benchmark of this site.", "lead"));
    var waiting = 2;
    keys.forEach(function (key) {
      window.site.placeOf(window.site.versionShown(), "data/compare/" + key + ".js", function (place) {
       if (!place) return loaded();
       window.site.loadData(toSite + place, loaded);
      });
      function loaded() {
        if (--waiting) return;
        var a = parts[keys[0]], b = parts[keys[1]];
        if (!a || !b) return void answer.append(element("p", "This version of the site has no " + (a ? keys[1] : keys[0]) + ".", "lead"));
        if (a.kind !== b.kind) return void answer.append(element("p", "A benchmark and a whole execution cannot be compared: choose two of a kind.", "lead"));
        (a.kind === "benchmark" ? compareBenchmarks : compareExecutions)(a, b);
        var rows = facts(a, b);
        answer.append(heading("Recipe and environment"));
        answer.append(rows.length ? table([["what"], ["A"], ["B"], ["remark"]], rows) : element("p", "Nothing that is recorded differs."));
        document.documentElement.dataset.compared = keys.join(" ");
      }
    });
  }

  // What is typed is the name of an execution as listed, or an id.
  var names = Object.create(null);
  function nameOf(key) {
    return Object.keys(names).filter(function (name) { return names[name] === key; })[0] || key;
  }
  function listNames() {
    var options = document.getElementById("choices");
    window.siteIndex.executions.forEach(function (one) { names[one[1] + ", " + one[2] + " UTC"] = one[4]; });
    window.siteIndex.rows.forEach(function (row) { names[row[0] + (row[3] ? " (" + row[1] + ", " + row[3] + ")" : " (" + row[1] + ")")] = row[0]; });
    // Of many names, those that fit what is typed: a browser does not list thousands.
    var all = Object.keys(names);
    function offer(field) {
      var words = field.value.toLowerCase().split(/\s+/).filter(Boolean), found = [];
      for (var i = 0; i < all.length && found.length < MOST_OFFERED; i++) {
        var name = all[i].toLowerCase();
        if (words.every(function (word) { return name.includes(word); })) found.push(all[i]);
      }
      options.replaceChildren.apply(options, found.map(function (name) {
        var option = element("option");
        option.value = name;
        return option;
      }));
    }
    [form.a, form.b].forEach(function (field) {
      ["input", "focus"].forEach(function (event) { field.addEventListener(event, function () { offer(field); }); });
    });
    offer(document.activeElement === form.b ? form.b : form.a);
  }
  document.addEventListener("DOMContentLoaded", function () {
    state = window.site.state;
    form = document.getElementById("compare");
    answer = document.getElementById("answer");
    to = form.dataset.toVersion;
    toSite = document.getElementById("versions").dataset.toSite;
    form.addEventListener("submit", function (event) {
      event.preventDefault();
      state.set("a", names[form.a.value] || form.a.value.trim());
      state.set("b", names[form.b.value] || form.b.value.trim());
      show();
    });
    document.getElementById("swap").addEventListener("click", function () {
      var a = state.get("a"), b = state.get("b");
      state.set("a", b);
      state.set("b", a);
      show();
    });
    addEventListener("hashchange", show);
    show();
    window.site.loadData(to + "data/benchmarks.js", function (found) {
      if (!found) return;
      listNames();
      form.a.value = nameOf(state.get("a"));
      form.b.value = nameOf(state.get("b"));
    });
  });
})();
