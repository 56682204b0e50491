'use strict';

/* Small parts of the page "Invariants": elements, cells, drawings. They know the document that
   asv_invariants/document.py writes, and nothing of asv. Text goes in as text, never as HTML. */

var invariants_parts = (function () {
    var SVG = 'http://www.w3.org/2000/svg';

    /* An element with attributes and children; null children are left out. */
    function element(name, attributes, children, space) {
        var made = space ? document.createElementNS(space, name) : document.createElement(name);
        Object.keys(attributes || {}).forEach(function (key) {
            if (attributes[key] !== null && attributes[key] !== undefined) {
                made.setAttribute(key, attributes[key]);
            }
        });
        [].concat(children === undefined ? [] : children).forEach(function (child) {
            if (child !== null && child !== undefined) {
                made.append(child);
            }
        });
        return made;
    }

    function drawn(name, attributes, children) {
        return element(name, attributes, children, SVG);
    }

    function day(milliseconds) {
        return new Date(milliseconds).toISOString().slice(0, 10);
    }

    /* What a value is: in a word for the style, and in words for people. */
    function kind(value) {
        if (value === null || value === undefined) { return 'none'; }
        if (value === 'failed') { return 'failed'; }
        return value === 0 ? 'zero' : 'bad';
    }

    function words(value) {
        return {
            none: 'not measured',
            failed: 'failed, or no verdict',
            zero: '0 violations',
            bad: value + (value === 1 ? ' violation' : ' violations')
        }[kind(value)];
    }

    /* What stands in a cell, where there is little room. */
    function short(value) {
        return {none: '–', failed: 'fail', zero: '0', bad: '' + value}[kind(value)];
    }

    function time(value, unit) {
        if (value === null || value === undefined || value === 'failed') {
            return short(value);
        }
        var ms = unit === 'seconds' ? value * 1000 : value;
        if (ms >= 10000) { return (ms / 1000).toFixed(1) + ' s'; }
        return (ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2)) + ' ms';
    }

    /* Where a number is between the first and the last edge, which are in equal ratios: 0 to 1. */
    function position(edges, value) {
        var low = Math.log(edges[0]), high = Math.log(edges[edges.length - 1]);
        return Math.min(1, Math.max(0, (Math.log(value) - low) / (high - low)));
    }

    /* The distribution of one commit's recoveries: bars, and a mark at each percentile. */
    function distribution(recovery, edges) {
        var width = 240, height = 34, base = height - 6;
        var marks = Object.keys(recovery.percentiles).map(function (key) {
            return ['p' + key, recovery.percentiles[key]];
        }).concat([['max', recovery.max]]).filter(function (mark) { return mark[1] !== null; });
        var told = marks.map(function (mark) { return mark[0] + ' ' + time(mark[1], 'ms'); });
        var highest = Math.max.apply(null, recovery.counts.concat([1]));
        var step = width / (edges.length - 1);
        var parts = [drawn('title', {}, told.join(', ') + (recovery.cycles
            ? ', ' + recovery.cycles + ' cycles' : ', single cycles were not kept'))];
        recovery.counts.forEach(function (count, number) {
            // The square root: one slow cycle in a thousand must be seen beside the rest.
            var tall = count && Math.max(1.5, Math.sqrt(count / highest) * (base - 2));
            parts.push(drawn('rect', {
                x: (number * step).toFixed(1), y: (base - tall).toFixed(1),
                width: Math.max(1, step - 1).toFixed(1), height: tall.toFixed(1), 'class': 'bar'
            }));
        });
        parts.push(drawn('line', {x1: 0, x2: width, y1: base, y2: base, 'class': 'axis'}));
        marks.forEach(function (mark) {
            var x = (position(edges, mark[1]) * width).toFixed(1);
            parts.push(drawn('path', {
                d: 'M' + x + ' ' + base + 'l-3 6h6z', 'class': 'mark ' + mark[0]
            }));
        });
        return drawn('svg', {
            viewBox: '-4 0 ' + (width + 8) + ' ' + (height + 1), width: width, height: height,
            role: 'img', 'aria-label': told.join(', ')
        }, parts);
    }

    return {
        day: day, distribution: distribution, element: element, kind: kind, short: short,
        time: time, words: words
    };
})();
