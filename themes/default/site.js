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

  // State in the address: everything after `#?`, so that it works from file:// and survives a copy of the address.

  var state = {
    all: function () { return new URLSearchParams(location.hash.slice(0, 2) === "#?" ? location.hash.slice(2) : ""); },
    get: function (name) { return this.all().get(name) || ""; },
    set: function (name, value) {
      var all = this.all();
      if (value) all.set(name, value); else all.delete(name);
      var text = all.toString();
      history.replaceState(null, "", text ? "#?" + text : location.pathname + location.search);
    }
  };

  // Loads a script of data once; `done(false)` when there is none.
  // Maps of names from the archive or the address: without what every object inherits.
  var loaded = Object.create(null);
  function loadData(src, done) {
    if (loaded[src]) return loaded[src] === "yes" ? done(true) : loaded[src].push(done);
    loaded[src] = [done];
    var script = document.createElement("script");
    script.src = src;
    function finish(found) {
      var waiting = loaded[src];
      loaded[src] = found ? "yes" : undefined;
      waiting.forEach(function (one) { one(found); });
    }
    script.addEventListener("load", function () { finish(true); });
    script.addEventListener("error", function () { finish(false); });
    document.head.append(script);
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
        var last = item.seriesType === "custom" ? item.value[item.value.length > 3 ? 4 : 2] : item.value[1];
        var note = item.data && item.data.note ? "  (" + item.data.note + ")" : "";
        lines.push(String(label).replace(/[{}|]/g, " ") + "  " + significant(last) + note);
      });
      return lines.slice(0, 14).join("\n");
    },
    "@name": function (item) { return String(item.name).replace(/[{}|]/g, " "); },
    "@bars": function (params, api) {
      var from = api.coord([api.value(0), 0]), to = api.coord([api.value(1), api.value(2)]);
      return { type: "rect", shape: { x: from[0], y: to[1], width: Math.max(1, to[0] - from[0] - 1), height: from[1] - to[1] }, style: { fill: api.visual("color"), decal: api.visual("decal") } };
    },
    "@cells": function (params, api) {
      var from = api.coord([api.value(0), api.value(3)]), to = api.coord([api.value(1), api.value(2)]);
      return { type: "rect", shape: { x: from[0], y: from[1], width: to[0] - from[0] + 0.5, height: to[1] - from[1] + 0.5 }, style: { fill: api.visual("color"), opacity: 0.08 + 0.92 * api.value(5) } };
    },
    "@band": function (params, api) {
      if (params.dataIndexInside > 0) return undefined;
      var upper = [], lower = [];
      for (var i = 0; i < params.dataInsideLength; i++) {
        upper.push(api.coord([api.value(0, i), api.value(2, i)]));
        lower.unshift(api.coord([api.value(0, i), api.value(1, i)]));
      }
      return { type: "polygon", shape: { points: upper.concat(lower) }, style: { fill: echarts.color.modifyAlpha(api.visual("color"), 0.16), decal: api.visual("decal") } };
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
  var waiting = Object.create(null);
  window.siteChart = function (key, option) {
    if (waiting[key]) waiting[key](option);
  };

  // Patterns for those who do not tell the colours apart, one a colour as the symbols are: where bands lie over each other.
  var PATTERNS = [
    { rotation: Math.PI / 4, dashArrayX: [1, 0], dashArrayY: [1, 7] },
    { rotation: -Math.PI / 4, dashArrayX: [1, 0], dashArrayY: [1, 7] },
    { rotation: 0, dashArrayX: [1, 0], dashArrayY: [1, 6] },
    { rotation: Math.PI / 2, dashArrayX: [1, 0], dashArrayY: [1, 6] },
    { symbol: "circle", symbolSize: 0.6, dashArrayX: [[7, 7], [0, 7, 7, 0]], dashArrayY: [7, 0] },
    { rotation: Math.PI / 4, dashArrayX: [4, 4], dashArrayY: [1, 8] },
    { rotation: -Math.PI / 4, dashArrayX: [4, 4], dashArrayY: [1, 8] }
  ];
  function patterned(option) {
    function isArea(one) { return one.renderItem === "@band" || one.renderItem === "@bars"; }
    var colours = [].concat(option.series).filter(isArea).map(function (one) { return one.itemStyle.color; });
    if (new Set(colours).size < 2) return option;
    return Object.assign({}, option, { series: option.series.map(function (one) {
      var number = isArea(one) && /^\$c(\d)$/.exec(one.itemStyle.color);
      if (!number) return one;
      var pattern = Object.assign({ color: echarts.color.modifyAlpha(token(number[0].slice(1)), 0.4) }, PATTERNS[number[1] - 1]);
      return Object.assign({}, one, { itemStyle: Object.assign({}, one.itemStyle, { decal: pattern }) });
    }) });
  }

  function dressed(option, width) {
    option = resolved(patterned(option));
    var ink = token("ink"), muted = token("muted"), line = token("line"), hair = token("hair");
    // A drawing puts it into an attribute as it is.
    var font = getComputedStyle(document.body).fontFamily.replace(/"/g, "'");
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
    option.dataZoom = [{ type: "inside", xAxisIndex: "all", filterMode: "none", zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false }];
    if (width < 480) {
      [].concat(option.grid).forEach(function (grid) { grid.left = 60; grid.right = 16; });
      option.legend.left = 8;
      // Side by side, the words of two marks would run into each other: along their lines they do not.
      option.series.forEach(function (one) {
        ((one.markLine && one.markLine.data) || []).forEach(function (mark) {
          if (mark.xAxis !== undefined && mark.label) mark.label.position = "insideEndTop";
        });
      });
      [].concat(option.yAxis).forEach(function (axis) { axis.nameGap = 46; });
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
      if (!event.data || typeof event.data.href !== "string" || /^[a-z]+:/i.test(event.data.href)) return;
      var link = document.createElement("a");
      link.href = event.data.href;
      document.body.append(link);
      link.click();
    });
    this.addTools();
    this.restore();
    this.box.dataset.drawn = "yes";
  };
  // Zoom and hidden series of the address, and back into it.
  Chart.prototype.restore = function () {
    var view = this.view, id = this.figure.id, zoom = state.get("zoom." + id).split("-").map(Number);
    if (zoom.length === 2 && zoom.every(function (end) { return end >= 0 && end <= 100; })) {
      view.dispatchAction({ type: "dataZoom", dataZoomIndex: 0, start: zoom[0], end: zoom[1] });
    }
    state.all().getAll("hide." + id).forEach(function (name) { view.dispatchAction({ type: "legendUnSelect", name: name }); });
    view.on("datazoom", function () {
      var now = view.getOption().dataZoom[0], all = now.start <= 0.01 && now.end >= 99.99;
      state.set("zoom." + id, all ? "" : now.start.toFixed(1) + "-" + now.end.toFixed(1));
    });
    view.on("legendselectchanged", function (event) {
      var all = state.all();
      all.delete("hide." + id);
      Object.keys(event.selected).forEach(function (name) { if (!event.selected[name]) all.append("hide." + id, name); });
      var text = all.toString();
      history.replaceState(null, "", text ? "#?" + text : location.pathname + location.search);
    });
  };
  Chart.prototype.draw = function () {
    var before = this.view.getOption(), zoom = before && before.dataZoom && before.dataZoom[0], legend = before && before.legend && before.legend[0];
    var option = dressed(this.option, this.box.clientWidth);
    if (zoom) { option.dataZoom[0].start = zoom.start; option.dataZoom[0].end = zoom.end; }
    if (legend) option.legend.selected = legend.selected;
    this.view.setOption(option, true);
  };
  // The chart as a vector graphic, drawn apart from the page.
  Chart.prototype.svg = function () {
    var apart = echarts.init(null, null, { renderer: "svg", ssr: true, width: this.box.clientWidth, height: this.box.clientHeight });
    var option = dressed(this.option, this.box.clientWidth);
    option.backgroundColor = token("surface");
    apart.setOption(option);
    var text = apart.renderToSVGString();
    apart.dispose();
    return text;
  };
  Chart.prototype.addTools = function () {
    var self = this, tools = document.createElement("div");
    tools.className = "chart-tools";
    [["PNG", function () { save(self.figure.id + ".png", self.view.getDataURL({ pixelRatio: 2, backgroundColor: token("surface") })); }],
     ["SVG", function () { save(self.figure.id + ".svg", "data:image/svg+xml;charset=utf-8," + encodeURIComponent(self.svg())); }],
     ["CSV", function () {
       var table = self.figure.querySelector("table");
       texts(table, function (rows) { save(self.figure.id + ".csv", "data:text/csv;charset=utf-8," + encodeURIComponent(csv(rows, table.tHead.rows[0].cells))); });
     }]]
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
  function csv(rows, headings) {
    return rows.map(function (row, number) {
      return row.map(function (text, i) {
        if (number && headings[i].classList.contains("number")) text = text.replace(/,/g, "");
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
    // Paper is white, whatever the screen is.
    var onScreen;
    addEventListener("beforeprint", function () {
      onScreen = root.dataset.theme;
      root.dataset.theme = "light";
      redraw();
      document.querySelectorAll("details.twin").forEach(function (twin) { twin.open = false; });
    });
    addEventListener("afterprint", function () {
      if (onScreen) root.dataset.theme = onScreen; else delete root.dataset.theme;
      redraw();
    });
  }
  function redraw() { drawn.forEach(function (chart) { if (chart.view) chart.draw(); }); }

  // Tables: sorted where they stand; long ones show as many rows as one looks at, and read the others from scripts.

  var MOST_SHOWN = 200;
  function sortValue(cell) {
    if (!cell) return "";
    return cell.dataset.sort !== undefined ? Number(cell.dataset.sort) : cell.textContent.trim();
  }
  function entryOf(row) {
    var cells = Array.from(row.cells);
    return { row: row, text: row.textContent.toLowerCase(), cells: cells.map(function (cell) { return cell.textContent.trim(); }), sorts: cells.map(sortValue) };
  }
  // A row of a script: of each cell its text, or a list of text, link, what to sort by, and class.
  function rowOf(values, headings) {
    function part(value, place) { return Array.isArray(value) ? value[place] : place ? null : value; }
    var made = {};
    return {
      get cells() { return made.cells || (made.cells = values.map(function (value) { return part(value, 0).trim(); })); },
      get text() { return made.text || (made.text = this.cells.join(" ").toLowerCase()); },
      get sorts() { return made.sorts || (made.sorts = values.map(function (value) { var sort = part(value, 2); return sort === null ? part(value, 0).trim() : sort; })); },
      make: function () {
        var row = document.createElement("tr");
        values.forEach(function (value, i) {
          var cell = row.insertCell(), text = part(value, 0), href = part(value, 1), sort = part(value, 2);
          cell.className = [headings[i] && headings[i].className, part(value, 3), text.length > 48 && "long"].filter(Boolean).join(" ");
          if (sort !== null) cell.dataset.sort = sort;
          if (!href || /^(?!https?:)[a-z]+:/i.test(href)) return void (cell.textContent = text);
          var link = document.createElement("a");
          link.href = href;
          link.textContent = text;
          cell.append(link);
        });
        return row;
      }
    };
  }
  var pieces = Object.create(null);
  window.siteRows = function (key, number, rows) { (pieces[key] = pieces[key] || [])[number] = rows; };

  // `box` is around a table that is searched by the page's filter; others have none.
  function List(table, box) {
    var self = this;
    this.table = table;
    this.box = box;
    this.body = table.tBodies[0];
    this.rows = Array.from(this.body.rows).map(entryOf);
    this.headings = Array.from(table.tHead.rows[0].cells);
    this.selects = [];
    this.whole = !table.dataset.rows;
    this.shown = box || !this.whole ? MOST_SHOWN : Infinity;
    this.order = "";
    table.list = this;
    this.headings.forEach(function (heading, index) {
      sortable(heading, function (descending) {
        self.setOrder(index + (descending ? "d" : "a"));
        self.load(function () { self.apply(); });
      });
    });
    this.more = document.createElement("button");
    this.more.type = "button";
    this.more.addEventListener("click", function () {
      if (self.whole) self.shown += 5 * MOST_SHOWN;
      self.load(function () { self.apply(); });
    });
    if (box) box.append(this.more); else table.parentElement.after(this.more);
    if (box) this.search(); else if (this.whole) this.more.hidden = true; else this.apply();
  }
  List.prototype.setOrder = function (order) { if (this.box) state.set("sort", order); else this.order = order; };
  // All rows, from as many scripts as they fill.
  List.prototype.load = function (done) {
    var self = this, key = this.table.dataset.key, count = Number(this.table.dataset.pieces);
    if (this.whole) return done();
    (function next(number) {
      if (number === count) {
        self.rows = [].concat.apply([], pieces[key]).map(function (values) { return rowOf(values, self.headings); });
        self.whole = true;
        if (self.box) self.buildFilters();
        return done();
      }
      loadData(self.table.dataset.rows + "-" + number + ".js", function (found) { if (found) next(number + 1); });
    })(0);
  };
  List.prototype.search = function () {
    var self = this, filter = document.getElementById("filter");
    this.controls = document.getElementById("filters");
    this.filter = filter;
    filter.value = state.get("q");
    filter.addEventListener("input", function () { self.shown = MOST_SHOWN; state.set("q", filter.value); self.apply(); });
    addEventListener("hashchange", function () { filter.value = state.get("q"); self.buildFilters(); self.apply(); });
    this.buildFilters();
    this.apply();
    // Searched from the first letter on.
    if (!this.whole) this.load(function () { self.apply(); });
  };
  // A select for each column with few different values.
  List.prototype.buildFilters = function () {
    var self = this;
    this.selects = [];
    this.controls.textContent = "";
    this.headings.forEach(function (heading, index) {
      var name = heading.firstChild.textContent.trim();
      if (!/^(campaign|service|standing|of|target|state|against the one before)$/.test(name)) return;
      var values = Array.from(new Set(self.rows.map(function (row) { return row.cells[index]; })));
      if (values.length < 2 || values.length > 60) return;
      var label = document.createElement("label"), select = document.createElement("select");
      label.append(name + " ", select);
      [""].concat(values.sort()).forEach(function (value) {
        var option = document.createElement("option");
        option.value = value;
        option.textContent = value || "any";
        select.append(option);
      });
      select.value = state.get("f" + index);
      if (select.selectedIndex < 0) select.value = "";
      select.addEventListener("change", function () { self.shown = MOST_SHOWN; state.set("f" + index, select.value); self.apply(); });
      self.selects.push([index, select]);
      self.controls.append(label);
    });
  };
  List.prototype.fitting = function () {
    var words = this.box ? this.filter.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    var chosen = this.selects.filter(function (one) { return one[1].value; });
    var fitting = this.rows;
    if (words.length || chosen.length) {
      fitting = fitting.filter(function (row) {
        return words.every(function (word) { return row.text.includes(word); }) && chosen.every(function (one) { return row.cells[one[0]] === one[1].value; });
      });
    }
    if (this.box) document.getElementById("filtered").textContent = words.length || chosen.length ? fitting.length + " of " + this.rows.length : "";
    var sort = /^(\d+)([ad])$/.exec(this.box ? state.get("sort") : this.order);
    this.headings.forEach(function (heading, index) { heading.setAttribute("aria-sort", sort && index === +sort[1] ? (sort[2] === "d" ? "descending" : "ascending") : "none"); });
    if (!sort) return fitting;
    var column = +sort[1], sign = sort[2] === "d" ? -1 : 1;
    return fitting.slice().sort(function (a, b) { return order(a.sorts[column], b.sorts[column], sign); });
  };
  List.prototype.apply = function () {
    var fitting = this.fitting(), shown = fitting.slice(0, this.shown), all = this.whole ? fitting.length : Number(this.table.dataset.count);
    this.body.replaceChildren.apply(this.body, shown.map(function (row) { return row.row || (row.row = row.make()); }));
    this.more.hidden = all <= shown.length;
    this.more.textContent = "Show more of " + all;
  };
  // The cells of a table as texts, heading first, whatever of it is shown.
  function texts(table, done) {
    function clean(text) { return text.replace(/\s+/g, " ").trim(); }
    function of(cells) { return Array.from(cells).map(function (cell) { return clean(cell.textContent); }); }
    var head = of(table.tHead.rows[0].cells), list = table.list;
    if (!list) return done([head].concat(Array.from(table.tBodies[0].rows).map(function (row) { return of(row.cells); })));
    list.load(function () { done([head].concat(list.fitting().map(function (row) { return row.cells.map(clean); }))); });
  }

  var list = null;
  // The rows of the list of benchmarks that do not stand in the page.
  function benchmarkRow(values, count, perSecond) {
    var number = { 4: true, 6: true, 7: true, 8: true }, made = {};
    function shown(value, factor) { return value == null ? "–" : significant(value * factor); }
    // Ten thousand rows come at once: what few of them need is made when they do.
    function words() {
      return made.texts || (made.texts = [values[0], values[1], values[2], values[3], String(values[4]), values[5],
        shown(values[6], 1), shown(values[7], perSecond), shown(values[8], perSecond), values[9]]);
    }
    return {
      // Filters are on columns of words, which stand here as they are shown.
      cells: values,
      get text() { return made.text || (made.text = words().join(" ").toLowerCase()); },
      get sorts() { return made.sorts || (made.sorts = values.slice(0, 10).map(function (value) { return value == null ? "–" : value; })); },
      make: function () {
        var row = document.createElement("tr");
        words().slice(0, count).forEach(function (text, i) {
          var cell = row.insertCell();
          if (i in number) cell.className = "number";
          if (i === 5 && text !== "valid") cell.className = text === "cancelled" ? "muted" : "bad";
          if (i > 1 || (i === 1 && !values[10])) return void (cell.textContent = text);
          var link = document.createElement("a");
          link.href = control().dataset.toSite + (i === 0 ? values[11] : values[10]);
          link.textContent = text;
          cell.append(link);
        });
        return row;
      }
    };
  }
  window.siteBenchmarks = function (data) {
    window.siteIndex = data;
    if (!list || list.box.dataset.kind !== "benchmarks") return;
    list.rows = data.rows.map(function (values) { return benchmarkRow(values, list.headings.length, data.units_per_second); });
    list.buildFilters();
    list.apply();
  };

  // What has no number stands last, whichever way.
  function order(x, y, sign) {
    if (typeof x === "number" && typeof y === "number") return sign * (x - y);
    if (typeof x === "number") return -1;
    if (typeof y === "number") return 1;
    return sign * x.localeCompare(y, "en", { numeric: true });
  }
  function sortable(heading, sort) {
    heading.tabIndex = 0;
    heading.setAttribute("aria-sort", "none");
    function go() { sort(heading.getAttribute("aria-sort") === "ascending"); }
    heading.addEventListener("click", go);
    heading.addEventListener("keydown", function (event) {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(); }
    });
  }
  function startTables() {
    var box = document.querySelector("[data-list]");
    if (box) list = new List(box.querySelector("table"), box);
    if (box && box.dataset.src) loadData(box.dataset.src, function () {});
    document.querySelectorAll("table.sortable, table[data-rows]").forEach(function (table) {
      if (!table.list) new List(table, null);
    });
    startLogs();
  }

  // Logs: lines that contain what is looked for. What of a log does not stand in the page is read when it is opened.
  var logTexts = Object.create(null);
  window.siteLog = function (key, text) { logTexts[key] = text; };
  function startLogs() {
    var search = document.getElementById("log-search");
    if (!search) return;
    var logs = Array.from(document.querySelectorAll("pre.log")).map(function (pre) { return { pre: pre, text: pre.textContent }; });
    function apply() {
      var words = search.value.toLowerCase().split(/\s+/).filter(Boolean), found = 0;
      logs.forEach(function (log) {
        var lines = log.text.split("\n").filter(function (line) { line = line.toLowerCase(); return words.every(function (word) { return line.includes(word); }); });
        log.pre.textContent = lines.join("\n");
        if (words.length) { log.pre.parentElement.open = lines.length > 0; found += lines.filter(Boolean).length; }
      });
      document.getElementById("log-found").textContent = words.length ? found + (found === 1 ? " line" : " lines") : "";
      state.set("log", search.value);
    }
    function whole(log, done) {
      if (!log.pre.dataset.src || log.whole) return done();
      loadData(log.pre.dataset.src, function (found) {
        if (found) log.text = logTexts[log.pre.dataset.key];
        log.whole = found;
        done();
      });
    }
    function applyToAll() {
      var waiting = logs.length;
      logs.forEach(function (log) { whole(log, function () { if (!--waiting) apply(); }); });
    }
    logs.forEach(function (log) {
      log.pre.parentElement.addEventListener("toggle", function () { if (log.pre.parentElement.open && !log.whole) whole(log, apply); });
    });
    search.value = state.get("log");
    search.addEventListener("input", applyToAll);
    if (search.value) applyToAll();
  }

  // Versions and theme

  // Pages of objects belong to no version: the one that the reader came from stands in the address, as `v`.
  var latest = "";
  function control() { return document.getElementById("versions"); }
  function versionShown() { return control().dataset.own || state.get("v") || latest; }

  // Where a version has a page, from the folder of all versions: `done(place)`, or `done("")`.
  function hash(path) {
    var value = 0x811c9dc5;
    for (var i = 0; i < path.length; i++) value = Math.imul(value ^ path.charCodeAt(i), 0x01000193) >>> 0;
    return value;
  }
  function placeOf(version, path, done) {
    var toSite = control().dataset.toSite, own = null, list = null;
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(version)) return done("");
    loadData(toSite + version + "/data/pages.js", function () {
      own = pagesOf[version];
      if (!own) return done("");
      if (own.pages.indexOf(path) >= 0) return done(version + "/" + path);
      list = own.places[hash(path) % own.places.length];
      loadData(toSite + "assets/" + list, function () {
        var found = (placesOf[list] || []).filter(function (entry) { return entry[0] === path; })[0];
        done(found ? found[1] : "");
      });
    });
  }
  // Several may be on their way at once: each says by its address which it is.
  var pagesOf = {}, placesOf = {};
  function fromEnd(n) { return decodeURIComponent(document.currentScript.src.split(/[?#]/)[0].split("/").slice(-n)[0]); }
  window.sitePages = function (data) { pagesOf[fromEnd(3)] = data; };
  window.sitePlaces = function (entries) { placesOf[fromEnd(1)] = entries; };
  // The same page and state of another version; where it does not have the page, its dashboard.
  function go(version, path, stateText) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(version)) return;
    placeOf(version, path, function (place) {
      location.href = control().dataset.toSite + (place ? place + withVersion(place, stateText, version) : version + "/index.html");
    });
  }
  // The state of an address, with the version that an object is looked at in; an anchor stays one.
  function withVersion(place, stateText, version) {
    if (place.slice(0, 2) !== "o/" || (stateText && stateText.slice(0, 2) !== "#?")) return stateText;
    var all = new URLSearchParams((stateText || "").slice(2));
    if (version === latest) all.delete("v"); else all.set("v", version);
    var text = all.toString();
    return text ? "#?" + text : "";
  }
  // What a link leads to, from the folder of all versions; "" when it leads elsewhere.
  function placeIn(link) {
    var root = new URL(control().dataset.toSite, location.href).href;
    return link.href.slice(0, root.length) === root ? link.href.slice(root.length).split(/[?#]/)[0] : "";
  }
  // Links to objects take the version along; links from objects to pages of versions lead to that version.
  function startVersionLinks() {
    document.addEventListener("click", function (event) {
      var link = event.target.closest && event.target.closest("a[href]"), version = versionShown();
      if (!link || !version) return;
      var place = placeIn(link);
      if (place.slice(0, 2) === "o/" && version !== latest) {
        link.href = link.href.split("#")[0] + withVersion(place, link.hash, version);
      } else if (place.slice(0, 7) === "latest/" && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
        event.preventDefault();
        go(version, place.slice(7), link.hash);
      }
    });
  }

  window.siteVersions = function (versions) {
    var select = control();
    latest = versions.filter(function (entry) { return entry.aliases.indexOf("latest") >= 0; }).map(function (entry) { return entry.version; })[0] || "";
    var shown = versionShown();
    select.textContent = "";
    versions.forEach(function (entry) {
      var option = document.createElement("option");
      option.value = entry.version;
      option.textContent = entry.version + (entry.aliases.indexOf("latest") >= 0 ? " (latest)" : "");
      option.selected = entry.version === shown;
      select.append(option);
    });
    select.addEventListener("change", function () { go(select.value, select.dataset.path, location.hash); });
    var banner = document.getElementById("old");
    if (latest && latest !== shown && banner) {
      banner.hidden = false;
      document.getElementById("shown").textContent = shown;
      banner.querySelector("b").textContent = latest;
    }
  };
  function startSearch() {
    var form = document.getElementById("search");
    form.addEventListener("submit", function (event) {
      event.preventDefault();
      var words = "#?q=" + encodeURIComponent(form.querySelector("input").value), version = versionShown();
      if (!control().dataset.own && version) return go(version, "benchmarks/index.html", words);
      location.href = form.dataset.to + "#?q=" + encodeURIComponent(form.querySelector("input").value);
    });
  }
  function startTheme() {
    document.getElementById("theme").addEventListener("click", function () {
      root.dataset.theme = isDark() ? "light" : "dark";
      remembered("theme", root.dataset.theme);
      redraw();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  // What the scripts of single pages use.
  window.site = { state: state, significant: significant, percentile: percentile, loadData: loadData, startCharts: startCharts, Chart: Chart, drawn: drawn, texts: texts, placeOf: placeOf, versionShown: versionShown };

  document.addEventListener("DOMContentLoaded", function () {
    startTheme();
    startSearch();
    startVersionLinks();
    startTables();
    startCharts();
  });
})();
