'use strict';

/* The page "Invariants" of the published site. It shows invariants/index.json and decides nothing:
   what a value means was decided where the document was made. */

$(document).ready(function () {
    var part = invariants_parts, element = part.element;
    var site = null;       // the document, once it is loaded
    var display = document.getElementById('invariants-display');
    var panel = null;      // what was found in one cell

    function commit_name(commit) {
        return commit.hash.slice(0, $.asv.main_json.hash_length || 8);
    }

    /* -- addresses ------------------------------------------------------------------------- */

    function cell_address(sheet, row, column) {
        return '#/invariants?sheet=' + sheet + '&commit=' + site.commits[row].hash
            + '&cell=' + column;
    }

    function graph_address(sheet, column, commit) {
        var params = {commits: [commit.hash]};
        $.each($.extend({}, sheet.graph, column.parameters), function (name, value) {
            params[name] = [value];
        });
        return $.asv.format_hash_string({location: [column.benchmark], params: params});
    }

    /* -- pieces ---------------------------------------------------------------------------- */

    function value_link(sheet, row, column, value) {
        var about = site.sheets[sheet].columns[column];
        var told = [about.invariant, about.scenario + ' ' + about.load,
                    commit_name(site.commits[row]), part.words(value)].join(', ');
        var link = element('a', {
            href: cell_address(sheet, row, column), 'class': 'cell ' + part.kind(value),
            'aria-label': told, title: told
        }, part.short(value));
        link.addEventListener('click', function (event) {
            if (event.ctrlKey || event.metaKey || event.shiftKey) { return; }
            // Not by the address: asv would scroll to where the page was left the last time.
            event.preventDefault();
            history.replaceState(null, '', cell_address(sheet, row, column));
            open_panel(sheet, row, column, link);
        });
        return link;
    }

    function commit_cell(commit) {
        var name = element('code', {}, commit_name(commit));
        var shown = commit.url ? element('a', {href: commit.url}, name) : name;
        return element('th', {scope: 'row', 'class': 'commit', title: commit.hash}, [
            shown, element('span', {'class': 'day'}, part.day(commit.date)),
            commit.graph ? null : element('span', {'class': 'day', title:
                'Not on a branch that is published: asv draws no graph of it'}, 'off branch')
        ]);
    }

    function badge(kind, text) {
        return element('span', {'class': 'badge-' + kind}, text);
    }

    /* -- the newest commit ----------------------------------------------------------------- */

    function summary(sheet) {
        var row = sheet.rows.findIndex(function (values) { return values !== null; });
        var counts = {bad: 0, failed: 0, none: 0, zero: 0}, total = 0;
        sheet.rows[row].forEach(function (value) {
            counts[part.kind(value)] += 1;
            total += part.kind(value) === 'bad' ? value : 0;
        });
        var said = [
            counts.bad ? badge('bad', total + (total === 1 ? ' violation' : ' violations')) : null,
            counts.failed ? badge('failed', counts.failed + ' failed') : null,
            counts.none ? badge('none', counts.none + ' not measured') : null,
            counts.zero ? badge('zero', counts.zero + ' measured and 0') : null
        ];
        return element('p', {'class': 'newest'}, [
            'Newest commit measured: ', element('code', {}, commit_name(site.commits[row])), ' ',
            element('span', {'class': 'day'}, part.day(site.commits[row].date)), ' '
        ].concat(said));
    }

    /* -- histories ------------------------------------------------------------------------- */

    /* A long history stays whole, in smaller cells. */
    function strip_class(values) {
        return values.length > 40 ? 'strip long' : 'strip';
    }

    function story_card(sheet, number, story) {
        var first = sheet.columns[story.columns[0]];
        var names = story.columns.map(function (column) {
            return sheet.columns[column].invariant;
        });
        var strip = element('div', {'class': strip_class(story.values)}, story.values.map(function (value, place) {
            return value_link(number, story.values.length - 1 - place, story.columns[0], value);
        }));
        return element('li', {'class': 'story'}, [
            element('div', {'class': 'told'}, [
                badge(story.kind === 'recovered' ? 'none' : 'bad', story.kind), ' ',
                element('strong', {}, names.join(', ')), ' ',
                element('span', {'class': 'where'}, first.scenario + ' ' + first.load),
                element('span', {'class': 'words'}, story.words)
            ]),
            strip
        ]);
    }

    function stories(sheet, number) {
        if (!sheet.stories.length) {
            return element('p', {'class': 'quiet'},
                'No invariant was ever broken at the commits that were measured.');
        }
        return element('ul', {'class': 'stories'}, sheet.stories.map(function (story) {
            return story_card(sheet, number, story);
        }));
    }

    /* -- the matrix ------------------------------------------------------------------------ */

    function groups(columns) {
        var found = [];
        columns.forEach(function (column, number) {
            var name = column.scenario + ' ' + column.load, last = found[found.length - 1];
            if (!last || last.name !== name) {
                found.push({name: name, scenario: column.scenario, load: column.load, size: 1});
            } else {
                last.size += 1;
            }
            column.opens = !last || last.name !== name;
        });
        return found;
    }

    function matrix(sheet, number) {
        var top = groups(sheet.columns).map(function (group) {
            return element('th', {colspan: group.size, scope: 'colgroup', 'class': 'opens'}, [
                element('span', {'class': 'scenario'}, group.scenario),
                element('span', {'class': 'load'}, group.load)
            ]);
        });
        var names = sheet.columns.map(function (column) {
            return element('th', {scope: 'col', 'class': 'name' + (column.opens ? ' opens' : '')},
                element('span', {}, column.invariant));
        });
        var rows = [];
        sheet.rows.forEach(function (values, row) {
            if (values === null) { return; }
            rows.push(element('tr', {}, [commit_cell(site.commits[row])].concat(
                values.map(function (value, column) {
                    return element('td', sheet.columns[column].opens ? {'class': 'opens'} : {},
                        value_link(number, row, column, value));
                })
            )));
        });
        return element('div', {'class': 'scroll', tabindex: 0, role: 'region', 'aria-label':
            'Violations by commit and invariant'}, element('table', {'class': 'matrix'}, [
            element('thead', {}, [
                element('tr', {}, [element('th', {'class': 'commit', rowspan: 2}, 'commit')]
                    .concat(top)),
                element('tr', {}, names)
            ]),
            element('tbody', {}, rows)
        ]));
    }

    function legend() {
        return element('p', {'class': 'legend'}, [
            element('span', {'class': 'cell zero'}, '0'), ' holds',
            element('span', {'class': 'cell bad'}, 'n'), ' violations',
            element('span', {'class': 'cell failed'}, 'fail'), ' failed, or no verdict',
            element('span', {'class': 'cell none'}, '–'), ' not measured'
        ]);
    }

    /* -- recovery and throughput ----------------------------------------------------------- */

    function times_table(sheet) {
        var percentiles = [];
        sheet.recovery.forEach(function (row) {
            Object.keys(row ? row.percentiles : {}).forEach(function (key) {
                if (percentiles.indexOf(key) < 0) { percentiles.push(key); }
            });
        });
        var largest = sheet.times.map(function (column) {
            return Math.max.apply(null, column.values.filter(Number.isFinite).concat([0]));
        });
        var head = [element('th', {'class': 'commit'}, 'commit')];
        if (percentiles.length) {
            percentiles.concat(['max']).forEach(function (key) {
                head.push(element('th', {scope: 'col'}, key === 'max' ? 'max' : 'p' + key));
            });
            head.push(element('th', {scope: 'col'}, 'recoveries, '
                + part.time(site.edges[0], 'ms') + ' to '
                + part.time(site.edges[site.edges.length - 1], 'ms')));
        }
        sheet.times.forEach(function (column) {
            head.push(element('th', {scope: 'col'}, [
                column.name, element('span', {'class': 'load'}, column.parameters)
            ]));
        });
        var rows = [];
        sheet.rows.forEach(function (values, row) {
            if (values !== null) { rows.push(times_row(sheet, row, percentiles, largest)); }
        });
        return element('div', {'class': 'scroll', tabindex: 0, role: 'region', 'aria-label':
            'Recovery and throughput by commit'}, element('table', {'class': 'times'}, [
            element('thead', {}, element('tr', {}, head)), element('tbody', {}, rows)
        ]));
    }

    function times_row(sheet, row, percentiles, largest) {
        var recovery = sheet.recovery[row], cells = [commit_cell(site.commits[row])];
        if (percentiles.length) {
            percentiles.forEach(function (key) {
                cells.push(element('td', {'class': 'p' + key},
                    part.time(recovery ? recovery.percentiles[key] : null, 'ms')));
            });
            cells.push(element('td', {'class': 'max'},
                part.time(recovery ? recovery.max : null, 'ms')));
            cells.push(element('td', {'class': 'drawing'},
                recovery ? part.distribution(recovery, site.edges) : '–'));
        }
        sheet.times.forEach(function (column, number) {
            var value = column.values[row];
            var share = Number.isFinite(value) && largest[number] ? value / largest[number] : 0;
            cells.push(element('td', {'class': 'time'}, [
                part.time(value, column.unit),
                element('span', {'class': 'share', style: 'width:' + (share * 100).toFixed(1) + '%'})
            ]));
        });
        return element('tr', {}, cells);
    }

    /* -- one cell -------------------------------------------------------------------------- */

    function open_panel(number, row, column, origin) {
        close_panel();
        var sheet = site.sheets[number], commit = site.commits[row];
        if (!sheet || !commit || !sheet.columns[column] || !sheet.rows[row]) { return; }
        var about = sheet.columns[column], value = sheet.rows[row][column];
        var reason = (sheet.reasons[commit.hash] || {})[column];
        var close = element('button', {type: 'button', 'class': 'close-panel',
            'aria-label': 'Close'}, '×');
        var text = element('div', {'class': 'witnesses'});
        var past = sheet.rows.map(function (values, place) {
            return values && value_link(number, place, column, values[column]);
        }).filter(Boolean).reverse();
        panel = element('aside', {'class': 'panel-cell', role: 'dialog', 'aria-label':
            'What was found'}, [
            close,
            element('h3', {}, about.invariant),
            element('p', {}, [about.scenario + ' ' + about.load, element('br'),
                element('code', {'class': 'whole'}, commit.hash), ' ',
                element('span', {'class': 'day'}, part.day(commit.date))]),
            element('p', {}, [badge(part.kind(value), part.words(value)),
                reason ? ' ' + reason : null]),
            element('p', {'class': 'links'}, [
                commit.url ? element('a', {href: commit.url}, 'commit') : null,
                commit.graph ? element('a', {href: graph_address(sheet, about, commit)}, 'graph')
                    : 'no graph: not on a published branch'
            ]),
            element('h4', {}, 'History, the oldest first'),
            element('div', {'class': strip_class(past)}, past),
            element('h4', {}, 'Witnesses'), text
        ]);
        close.addEventListener('click', function () {
            close_panel();
            history.replaceState(null, '', '#/invariants');
            if (origin && origin.isConnected) { origin.focus(); }
        });
        display.append(panel);
        close.focus({preventScroll: true});
        show_witnesses(text, number, sheet, commit, column, value);
    }

    function show_witnesses(text, number, sheet, commit, column, value) {
        var known = sheet.witnesses[commit.hash] || [];
        if (known.indexOf('' + column) < 0) {
            text.append(element('p', {'class': 'quiet'}, part.kind(value) === 'zero'
                ? 'None: it holds.' : 'No report of these trials was kept with the results.'));
            return;
        }
        $.ajax({
            url: 'invariants/' + number + '-' + commit.hash + '.json?timestamp='
                + $.asv.main_timestamp,
            dataType: 'json', cache: true
        }).done(function (found) {
            found[column].forEach(function (witness) {
                text.append(element('pre', {}, witness));
            });
        }).fail(function () {
            text.append(element('p', {}, 'The report could not be loaded.'));
        });
    }

    function close_panel() {
        if (panel) { panel.remove(); }
        panel = null;
    }

    document.addEventListener('keydown', function (event) {
        if (event.key === 'Escape' && panel) { panel.querySelector('button').click(); }
    });

    /* -- the page -------------------------------------------------------------------------- */

    function sheet_part(sheet, number) {
        var title = [sheet.label, sheet.machine, sheet.environment].join(', ');
        return element('section', {}, [
            element('h2', {}, [sheet.label, ' ', element('small', {}, sheet.machine + ', '
                + sheet.environment)]),
            summary(sheet),
            element('h3', {}, 'What was ever broken'), stories(sheet, number),
            element('h3', {}, 'Every commit, every invariant'), legend(), matrix(sheet, number),
            element('h3', {}, 'Recovery and throughput'), times_table(sheet)
        ]);
    }

    function render() {
        display.textContent = '';
        display.append(element('h1', {}, 'Invariants'));
        display.append(element('p', {'class': 'quiet'}, 'Each must be 0. A number is the sum over '
            + 'all seeded runs of a load; choose one to see its history and its witnesses.'));
        if (!site.sheets.length) {
            display.append(element('p', {'class': 'quiet'}, 'Nothing was measured yet.'));
        }
        site.sheets.forEach(function (sheet, number) {
            display.append(sheet_part(sheet, number));
        });
        if (site.problems.length) {
            display.append(element('section', {'class': 'problems'}, [
                element('h3', {}, 'Files that could not be read'),
                element('ul', {}, site.problems.map(function (line) {
                    return element('li', {}, line);
                }))
            ]));
        }
        if (document.querySelector('script[src^="vendor/"]')) {
            display.append(element('footer', {'class': 'quiet'}, ['Libraries of these pages: ',
                element('a', {href: 'vendor/LICENCES.txt'}, 'licences')]));
        }
    }

    function show(params) {
        display.hidden = false;
        document.body.classList.add('on-invariants');
        $('#title').text('Invariants');
        if (site === null) {
            $.ajax({
                url: 'invariants/index.json?timestamp=' + $.asv.main_timestamp,
                dataType: 'json', cache: true
            }).done(function (found) {
                site = found;
                render();
                open_asked(params);
            }).fail($.asv.ui.network_error);
        } else {
            open_asked(params);
        }
    }

    function open_asked(params) {
        close_panel();
        if (!params.cell) { return; }
        var row = site.commits.findIndex(function (commit) {
            return commit.hash === params.commit[0];
        });
        open_panel(Number(params.sheet[0]), row, Number(params.cell[0]), null);
    }

    $.asv.register_page('invariants', show);

    /* asv hides its own pages only. */
    $(window).on('hashchange', function () {
        if ($.asv.parse_hash_string(window.location.hash).location[0] !== 'invariants') {
            display.hidden = true;
            document.body.classList.remove('on-invariants');
        }
    });
});
