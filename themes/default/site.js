// The site's only script: charts from plain data, tables that sort and filter, theme and version.
// Works from file:// (nothing is fetched); a page without it shows every figure as a table.
(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.add("js");

  // Storage can be refused, as it is for some files.
  function remembered(key, value) {
    try {
      if (value === undefined) return localStorage.getItem(key);
      localStorage.setItem(key, value);
    } catch (refused) { /* the theme of the system, then */ }
    return null;
  }
  var chosen = remembered("theme");
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  function isDark() {
    if (root.dataset.theme) return root.dataset.theme === "dark";
    return matchMedia("(prefers-color-scheme: dark)").matches;
  }

  // Numbers

  function significant(value) {
    if (value === 0) return "0";
    var magnitude = Math.floor(Math.log10(Math.abs(value)));
    var decimals = Math.min(12, Math.max(0, 2 - magnitude));
    var text = value.toFixed(decimals);
    if (decimals > 0) text = text.replace(/\.?0+$/, "");
    return text.replace(/^(-?\d+)/, function (whole) { return whole.replace(/\B(?=(\d{3})+$)/g, ","); });
  }
  function percentile(oneIn) {
    var decimals = Math.max(0, Math.ceil(Math.log10(oneIn)) - 2);
    return "p" + (100 - 100 / oneIn).toFixed(Math.min(6, decimals));
  }

  // Functions that an option may name.
  var functions = {
    "@number": function (value) { return significant(value); },
    "@load": function (value) { return significant(value); },
    "@percentile": function (value) { return percentile(value); },
    "@tooltip": function (items) {
      items = [].concat(items).filter(function (item) { return item.seriesName && item.value && item.value[1] != null; });
      if (!items.length) return "";
      var lines = [items[0].axisValueLabel || ""];
      items.forEach(function (item) {
        var label = item.seriesType === "scatter" ? item.name : item.seriesName;
        lines.push(String(label).replace(/[{}|]/g, " ") + "  " + significant(item.value[1]));
      });
      return lines.slice(0, 14).join("\n");
    },
    "@band": function (params, api) {
      if (params.dataIndexInside > 0) return undefined;
      var upper = [], lower = [];
      for (var i = 0; i < params.dataInsideLength; i++) {
        upper.push(api.coord([api.value(0, i), api.value(2, i)]));
        lower.unshift(api.coord([api.value(0, i), api.value(1, i)]));
      }
      return { type: "polygon", shape: { points: upper.concat(lower) }, style: { fill: api.visual("color"), opacity: 0.16 } };
    }
  };
  var named = { formatter: true, renderItem: true };
  var coloured = { color: true, borderColor: true };

  // An option with names in place of functions and colours → one that can be drawn.
  function resolved(value, key) {
    if (Array.isArray(value)) return value.map(function (item) { return resolved(item); });
    if (value && typeof value === "object") {
      var copy = {};
      Object.keys(value).forEach(function (name) { copy[name] = resolved(value[name], name); });
      return copy;
    }
    if (typeof value === "string") {
      if (named[key] && Object.prototype.hasOwnProperty.call(functions, value)) return functions[value];
      if (coloured[key] && value.charAt(0) === "$") return token(value.slice(1));
    }
    return value;
  }
  function token(name) { return getComputedStyle(root).getPropertyValue("--" + name).trim(); }

  // Charts

  var drawn = [];
  var waiting = {};
  window.siteChart = function (key, option) {
    if (waiting[key]) waiting[key](option);
  };

  function dressed(option, width) {
    option = resolved(option);
    var ink = token("ink"), muted = token("muted"), line = token("line"), hair = token("hair");
    var font = getComputedStyle(document.body).fontFamily;
    option.textStyle = { fontFamily: font, color: ink, fontSize: 12 };
    option.backgroundColor = "transparent";
    [].concat(option.xAxis, option.yAxis).forEach(function (axis) {
      axis.axisLine = { lineStyle: { color: line } };
      axis.axisTick = { lineStyle: { color: line } };
      axis.splitLine = { lineStyle: { color: hair } };
      axis.minorSplitLine = { show: false };
      axis.nameTextStyle = { color: muted };
      axis.axisLabel = Object.assign({ color: muted, hideOverlap: true }, axis.axisLabel);
    });
    [].concat(option.xAxis).forEach(function (axis) { axis.splitLine.show = false; });
    option.legend.textStyle = { color: ink };
    option.legend.pageTextStyle = { color: muted };
    option.legend.pageIconColor = muted;
    option.legend.right = 12;
    option.tooltip.backgroundColor = token("surface");
    option.tooltip.borderColor = line;
    option.tooltip.textStyle = { color: ink, fontSize: 12, fontFamily: font };
    option.dataZoom = [{ type: "inside", xAxisIndex: "all", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false }];
    if (width < 480) {
      [].concat(option.grid).forEach(function (grid) { grid.left = 56; grid.right = 16; });
      option.legend.left = 8;
      [].concat(option.yAxis).forEach(function (axis) { axis.nameGap = 40; });
    }
    return option;
  }

  function Chart(figure) {
    this.figure = figure;
    this.box = figure.querySelector(".canvas");
    this.option = null;
    this.view = null;
  }
  Chart.prototype.start = function () {
    var self = this, data = this.figure.querySelector("script.option");
    if (data) return this.show(JSON.parse(data.textContent));
    waiting[this.box.dataset.key] = function (option) { self.show(option); };
    var script = document.createElement("script");
    script.src = this.box.dataset.src;
    document.head.append(script);
  };
  Chart.prototype.show = function (option) {
    this.option = option;
    this.view = echarts.init(this.box, null, { renderer: "canvas" });
    this.draw();
    if (this.box.dataset.group) {
      this.view.group = this.box.dataset.group;
      echarts.connect(this.view.group);
    }
    this.view.on("click", function (event) {
      if (event.data && typeof event.data.href === "string" && !/^[a-z]+:/i.test(event.data.href)) location.href = event.data.href;
    });
    this.addTools();
    this.box.dataset.drawn = "yes";
  };
  Chart.prototype.draw = function () { this.view.setOption(dressed(this.option, this.box.clientWidth), true); };
  Chart.prototype.addTools = function () {
    var self = this, tools = document.createElement("div");
    tools.className = "chart-tools";
    [["PNG", function () { save(self.figure.id + ".png", self.view.getDataURL({ pixelRatio: 2, backgroundColor: token("surface") })); }],
     ["CSV", function () { save(self.figure.id + ".csv", "data:text/csv;charset=utf-8," + encodeURIComponent(csv(self.figure.querySelector("table")))); }]]
      .forEach(function (tool) {
        var button = document.createElement("button");
        button.type = "button";
        button.textContent = tool[0];
        button.addEventListener("click", tool[1]);
        tools.append(button);
      });
    this.figure.querySelector("figcaption").prepend(tools);
  };

  function save(name, url) {
    var link = document.createElement("a");
    link.href = url;
    link.download = name;
    link.click();
  }
  // A leading =, +, - or @ would be a formula to a spreadsheet; numbers stay numbers.
  function csv(table) {
    return Array.from(table.rows).map(function (row) {
      return Array.from(row.cells).map(function (cell) {
        var text = cell.textContent.replace(/\s+/g, " ").trim();
        if (cell.classList.contains("number") && cell.tagName === "TD") text = text.replace(/,/g, "");
        else if (/^[=+\-@]/.test(text)) text = "'" + text;
        return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
      }).join(",");
    }).join("\n") + "\n";
  }

  function startCharts() {
    document.querySelectorAll("details.twin").forEach(function (twin) { twin.open = false; });
    var figures = Array.from(document.querySelectorAll("figure.chart"));
    figures.forEach(function (figure) {
      var box = figure.querySelector(".canvas");
      box.style.height = box.dataset.height + "px";
    });
    if (!figures.length || !window.echarts) return;
    var watcher = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (!entry.isIntersecting) return;
        watcher.unobserve(entry.target);
        var chart = new Chart(entry.target);
        drawn.push(chart);
        chart.start();
      });
    }, { rootMargin: "600px" });
    figures.forEach(function (figure) {
      // What is in view at once does not wait for the first frame.
      if (figure.getBoundingClientRect().top > innerHeight) return watcher.observe(figure);
      var chart = new Chart(figure);
      drawn.push(chart);
      chart.start();
    });
    addEventListener("resize", function () {
      drawn.forEach(function (chart) {
        if (!chart.view) return;
        chart.view.resize();
        chart.draw();
      });
    });
    addEventListener("beforeprint", function () {
      document.querySelectorAll("details.twin").forEach(function (twin) { twin.open = false; });
    });
  }
  function redraw() { drawn.forEach(function (chart) { if (chart.view) chart.draw(); }); }

  // Tables

  function sortValue(cell) {
    if (!cell) return "";
    return cell.dataset.sort !== undefined ? Number(cell.dataset.sort) : cell.textContent.trim();
  }
  function sortTable(table, index, heading) {
    var descending = heading.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach(function (other) { other.setAttribute("aria-sort", "none"); });
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    var body = table.tBodies[0], rows = Array.from(body.rows);
    rows.sort(function (a, b) {
      var x = sortValue(a.cells[index]), y = sortValue(b.cells[index]);
      var order;
      if (typeof x === "number" && typeof y === "number") order = x - y;
      // What has no number stands last, whichever way.
      else if (typeof x === "number") return -1;
      else if (typeof y === "number") return 1;
      else order = x.localeCompare(y, "en", { numeric: true });
      return descending ? -order : order;
    });
    body.append.apply(body, rows);
  }
  function startTables() {
    document.querySelectorAll("table.sortable").forEach(function (table) {
      table.querySelectorAll("thead th").forEach(function (heading, index) {
        heading.setAttribute("aria-sort", "none");
        heading.tabIndex = 0;
        heading.addEventListener("click", function () { sortTable(table, index, heading); });
        heading.addEventListener("keydown", function (event) {
          if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sortTable(table, index, heading); }
        });
      });
    });
    var filter = document.getElementById("filter");
    if (!filter) return;
    var rows = Array.from(document.getElementById(filter.dataset.table).querySelectorAll("tbody tr"));
    var texts = rows.map(function (row) { return row.textContent.toLowerCase(); });
    function apply() {
      var words = filter.value.toLowerCase().split(/\s+/).filter(Boolean), shown = 0;
      rows.forEach(function (row, i) {
        var fits = words.every(function (word) { return texts[i].includes(word); });
        row.hidden = !fits;
        if (fits) shown++;
      });
      document.getElementById("filtered").textContent = words.length ? shown + " of " + rows.length : "";
    }
    filter.addEventListener("input", apply);
    apply();
  }

  // Versions and theme

  window.siteVersions = function (versions) {
    var select = document.getElementById("versions");
    var shown = select.value;
    select.textContent = "";
    versions.forEach(function (entry) {
      var option = document.createElement("option");
      option.value = entry.version;
      option.textContent = entry.version + (entry.aliases.indexOf("latest") >= 0 ? " (latest)" : "");
      option.selected = entry.version === shown;
      select.append(option);
    });
    // Another version need not have this page; its dashboard it has.
    select.addEventListener("change", function () {
      if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(select.value)) location.href = select.dataset.toSite + select.value + "/index.html";
    });
  };
  function startTheme() {
    document.getElementById("theme").addEventListener("click", function () {
      root.dataset.theme = isDark() ? "light" : "dark";
      remembered("theme", root.dataset.theme);
      redraw();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  document.addEventListener("DOMContentLoaded", function () {
    startTheme();
    startTables();
    startCharts();
  });
})();
